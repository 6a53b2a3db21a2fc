"""Clough–Tocher interpolation as weights: the same answer as SciPy's, for all genes at once.

Values and gradients at the corners determine a smooth, piecewise cubic surface. The gradients are
those that bend the curves along the triangles' sides least. Both steps are linear in the values.

References
----------
Alfeld (1984), A trivariate Clough–Tocher scheme for tetrahedral data; Nielson (1983), A method for
interpolating scattered data based upon a minimum norm network; Farin (1986), Triangular
Bernstein–Bézier patches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import Delaunay

from napari_stsr.methods.baselines.triangulation import Triangulation
from napari_stsr.results.expression import Floats32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Every sweep halves the error of the gradients at least.
_SWEEPS = 18
# So few genes at a time that their gradients stay in the cache from sweep to sweep.
_GENES = 64


def gradient_system(delaunay: Delaunay) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Matrices S (2u, u) and T (2u, 2u) whose fixed point ``g = S f + T g`` are the gradients.

    At each corner i the curves along its sides e to corners j, cubic with end slopes e·g, bend
    least where ``Σ_j (4 e·g_i + 2 e·g_j + 6 (f_i − f_j)) e / |e|³ = 0``.
    """
    starts, ends = delaunay.vertex_neighbor_vertices
    u = len(delaunay.points)
    i = np.repeat(np.arange(u), np.diff(starts))
    side = delaunay.points[ends] - delaunay.points[i]
    cubed = np.linalg.norm(side, axis=1) ** 3
    outer = side[:, :, None] * side[:, None] / cubed[:, None, None]
    own = np.stack(
        [np.bincount(i, 4 * outer[:, a, b], minlength=u) for a in (0, 1) for b in (0, 1)], axis=1
    ).reshape(u, 2, 2)
    inverse = np.linalg.pinv(own, hermitian=True)
    coupling = -2 * inverse[i] @ outer
    rise = np.einsum("eab,eb->ea", 6 * inverse[i], side / cubed[:, None])
    row = 2 * i[:, None] + np.arange(2)
    from_values = sparse.csr_matrix(
        (np.concatenate([rise, -rise]).ravel(),
         (np.concatenate([row, row]).ravel(), np.repeat(np.concatenate([ends, i]), 2))),
        shape=(2 * u, u), dtype=np.float32,
    )  # fmt: skip
    column = 2 * ends[:, None] + np.arange(2)
    rows, columns = np.broadcast_arrays(row[:, :, None], column[:, None, :])
    places = (rows.ravel(), columns.ravel())
    from_gradients = sparse.csr_matrix(
        (coupling.ravel(), places), shape=(2 * u, 2 * u), dtype=np.float32
    )
    return from_values, from_gradients


def gradients(system: tuple[sparse.csr_matrix, sparse.csr_matrix], values: Floats32) -> Floats32:
    """Gradients (2u, g) at the corners for values (u, g) there."""
    from_values, from_gradients = system
    answer = np.empty((from_values.shape[0], values.shape[1]), dtype=np.float32)
    for start in range(0, values.shape[1], _GENES):
        part = slice(start, start + _GENES)
        given = from_values @ values[:, part]
        found = given
        for _ in range(_SWEEPS):
            found = from_gradients @ found
            found += given
        answer[:, part] = found
    return answer


def cubic_weights(
    triangles: Triangulation, places: Floats
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Weights of the locations (m, n) and of the gradients at the corners (m, 2u) at places.

    Outside the hull the nearest location has all the weight.
    """
    delaunay = triangles.delaunay
    triangle, three = triangles.barycentric(places)
    inside = np.flatnonzero(triangle >= 0)
    own = triangle[inside]
    corners = delaunay.simplices[own]
    weights = _bernstein(three[inside], _across(delaunay, own))
    m, u = len(places), len(delaunay.points)
    rows = np.repeat(inside, 3)
    flat = (weights[:, :3].astype(np.float32).ravel(), (rows, corners.ravel()))
    of_values = sparse.csr_matrix(flat, shape=(m, u))
    # Slope along a side is the gradient times the side, so each corner gets a vector.
    points = delaunay.points[corners]
    slope = np.zeros((len(inside), 3, 2))
    for number, (start, end) in enumerate(_SIDES):
        along = points[:, end] - points[:, start]
        slope[:, start] += weights[:, 3 + number, None] * along
    columns = 2 * corners[:, :, None] + np.arange(2)
    flat = (slope.astype(np.float32).ravel(), (np.repeat(inside, 6), columns.ravel()))
    of_slopes = sparse.csr_matrix(flat, shape=(m, 2 * u))
    whole = of_values + triangles.outside(places, triangle < 0)
    return (whole @ triangles.merge).tocsr(), of_slopes


# Start and end of the six directed sides of a triangle.
_SIDES = ((0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2))


def _across(delaunay: Delaunay, triangle: Ints) -> Floats:
    """Direction, for each side, in which the surface's slope is linear along it, (m, 3).

    Towards the centre of the triangle beyond the side, which makes the surface independent of any
    turn or stretch of the plane.
    """
    beyond = delaunay.neighbors[triangle]
    centre = delaunay.points[delaunay.simplices[beyond]].mean(axis=2)
    frame = delaunay.transform[triangle]
    two = np.einsum("mij,msj->msi", frame[:, :2], centre - frame[:, None, 2])
    c = np.concatenate([two, 1 - two.sum(axis=-1, keepdims=True)], axis=-1)
    answer = np.full(beyond.shape, -0.5)
    for side in range(3):
        after, last = (side + 1) % 3, (side + 2) % 3
        top = 2 * c[:, side, last] + c[:, side, after] - 1
        bottom = 2 - 3 * c[:, side, last] - 3 * c[:, side, after]
        good = beyond[:, side] >= 0
        answer[good, side] = top[good] / bottom[good]
    return answer


def _bernstein(three: Floats, across: Floats) -> Floats:
    """Weights (m, 9) of three values and six slopes along the sides (in the order of `_SIDES`)."""
    m = len(three)
    f1, f2, f3, d12, d21, d23, d32, d31, d13 = np.broadcast_to(np.eye(9)[:, None], (9, m, 9))
    # Bézier points on the sides, then the inner ones, as in Alfeld's paper.
    c3000, c0300, c0030 = f1, f2, f3
    c2100, c2010 = f1 + d12 / 3, f1 + d13 / 3
    c1200, c0210 = f2 + d21 / 3, f2 + d23 / 3
    c1020, c0120 = f3 + d31 / 3, f3 + d32 / 3
    c2001 = (c2100 + c2010 + c3000) / 3
    c0201 = (c1200 + c0300 + c0210) / 3
    c0021 = (c1020 + c0120 + c0030) / 3
    g = across[:, :, None]
    c0111 = _inner(g[:, 0], c0300, c0210, c0120, c0030, c0201, c0021)
    c1011 = _inner(g[:, 1], c0030, c1020, c2010, c3000, c0021, c2001)
    c1101 = _inner(g[:, 2], c3000, c2100, c1200, c0300, c2001, c0201)
    c1002 = (c1101 + c1011 + c2001) / 3
    c0102 = (c1101 + c0111 + c0201) / 3
    c0012 = (c1011 + c0111 + c0021) / 3
    c0003 = (c1002 + c0102 + c0012) / 3
    least = three.min(axis=1, keepdims=True)
    b1, b2, b3 = ((three - least)[:, corner, None] for corner in range(3))
    b4 = 3 * least
    return np.asarray(
        b1**3 * c3000 + 3 * b1**2 * (b2 * c2100 + b3 * c2010 + b4 * c2001)
        + 3 * b1 * (b2**2 * c1200 + b3**2 * c1020 + b4**2 * c1002)
        + 6 * b1 * b4 * (b2 * c1101 + b3 * c1011)
        + b2**3 * c0300 + 3 * b2**2 * (b3 * c0210 + b4 * c0201)
        + 3 * b2 * (b3**2 * c0120 + b4**2 * c0102) + 6 * b2 * b3 * b4 * c0111
        + b3**3 * c0030 + 3 * b3**2 * b4 * c0021 + 3 * b3 * b4**2 * c0012 + b4**3 * c0003
    )  # fmt: skip


def _inner(
    g: Floats, a0: Floats, a1: Floats, a2: Floats, a3: Floats, inner0: Floats, inner3: Floats
) -> Floats:
    """Bézier point beside a side's middle, from the side's four and the two inner ones."""
    along = g * (-a0 + 3 * a1 - 3 * a2 + a3)
    return np.asarray((along + (-a0 + 2 * a1 - a2 + inner3 + inner0)) / 2)
