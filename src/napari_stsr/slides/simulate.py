"""Simulated slides, whose expression below the spot is known.

A tissue of domains is read at the parts of every spot; what a spot measures is the exact sum of
its parts. The rows of the truth are the rows of ``slide.subspots(parts)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.genes import Genes
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.slide import PixelScale, Slide
from napari_stsr.slides.targets import subspots
from napari_stsr.slides.tissue import Tissue, made_up_tissue

if TYPE_CHECKING:
    from napari_stsr.slides.image import Pyramid

_PITCH_UM = {"square": 200.0, "hex": 100.0}
_PX_PER_PITCH = 100
_ON, _OFF = 5.0, 0.3
_LIBRARY_SPREAD = 0.2


@dataclass(frozen=True)
class Preset:
    """How counts are drawn.

    Attributes
    ----------
    on : float
        Chance that a gene is on in a domain.
    spread : float
        Standard deviation of the log mean of a gene in a domain.
    gradient : float
        Standard deviation of the log mean along the tissue's gradients.
    size : float
        Size r of the negative binomial.
    zeros : float
        Chance that a count is lost.
    markers : int
        Genes per domain that are on there and nowhere else.
    """

    on: float = 0.4
    spread: float = 0.0
    gradient: float = 0.0
    size: float = 1.0
    zeros: float = 0.1
    markers: int = 0


PRESETS = {
    "slides_like": Preset(),
    "realistic": Preset(spread=1.0, gradient=0.5, markers=3),
}


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated slide and what is true below its spots.

    Attributes
    ----------
    slide : Slide
    truth : (m, g) int32 CSR matrix
        Counts of the parts, in the order of ``slide.subspots(parts)``; they sum to the spots.
    mean : (m, g) float32 array
        Expected counts of the parts, free of noise; 0 outside the tissue.
    domain : (m,) int array
        Domain of every part, -1 outside the tissue.
    parent : (m,) int array
        Spot every part belongs to.
    parts : int
        Parts per spot.
    """

    slide: Slide
    truth: sparse.csr_matrix
    mean: NDArray[np.float32]
    domain: NDArray[np.int64]
    parent: NDArray[np.int64]
    parts: int


def simulate(
    preset: str = "realistic",
    lattice: Literal["square", "hex"] = "square",
    shape: tuple[int, int] = (24, 24),
    genes: int = 500,
    seed: int = 0,
    *,
    parts: int | None = None,
    domains: int = 6,
    tissue: bool = True,
    image: bool = True,
) -> Simulation:
    """Simulate a slide together with its truth.

    Parameters
    ----------
    preset : {"realistic", "slides_like"}
        ``"slides_like"`` follows the simulation of the Square slides; ``"realistic"`` adds genes
        of different strength, continuous gradients and markers of each domain.
    lattice : {"square", "hex"}
        Legacy arrays (pitch 200 µm) or Visium (100 µm).
    shape : (int, int)
        Rows and columns of spots, from (4, 4) on.
    genes : int
    seed : int
        Same seed, same slide.
    parts : int, optional
        Parts per spot: 9, 4 or 16 on a square lattice, 7 on a hexagonal one.
    domains : int
        Regions of like expression; their borders ignore the borders of the spots.
    tissue : bool
        Give the tissue an outline and a hole. Spots outside have no counts and are not
        ``in_tissue``.
    image : bool
        Paint an H&E stain of the same tissue.

    Raises
    ------
    InputError
        For an argument that cannot be used.
    """
    chosen = _checked(preset, lattice, shape, genes, seed, domains)
    streams = np.random.SeedSequence(seed).spawn(3)
    layout, expression, stain = (np.random.default_rng(stream) for stream in streams)
    array = _array(lattice, shape)
    k = _parts(array.lattice, parts)
    ground = made_up_tissue(array.size_um, domains, not tissue, layout)
    targets = subspots(array.lattice, array.coordinates, k)
    in_tissue = _in_tissue(ground, targets.coordinates, k)
    covered = np.flatnonzero(in_tissue[targets.parent])
    places = targets.coordinates[covered]
    means = _means(chosen, ground, places, genes, expression)

    domain = np.full(len(targets), -1, dtype=np.int64)
    domain[covered] = ground.domain(places)
    expected = np.zeros((len(targets), genes), dtype=np.float32)
    expected[covered] = means * (1 - chosen.zeros) * np.exp(_LIBRARY_SPREAD**2 / 2)
    counts = np.zeros(expected.shape, dtype=np.int32)
    counts[covered] = _drawn(chosen, means, expression)
    slide = Slide(
        name=f"simulated {lattice} slide",
        kind="simulated",
        counts=Counts(sparse.csr_matrix(counts.reshape(-1, k, genes).sum(1, dtype=np.int32))),
        genes=_genes(genes, min(chosen.markers, genes // domains), domains),
        coordinates=array.coordinates,
        barcodes=array.barcodes,
        lattice=array.lattice,
        diameter_um=array.lattice.pitch_um,
        scale=PixelScale(array.um_per_px, "simulator"),
        in_tissue=in_tissue,
        image=_image(ground, array, stain) if image else None,
        annotations=_annotations(array, domain.reshape(-1, k)),
    )
    return Simulation(slide, sparse.csr_matrix(counts), expected, domain, targets.parent, k)


def simulate_slide(
    preset: str = "realistic",
    lattice: Literal["square", "hex"] = "square",
    shape: tuple[int, int] = (24, 24),
    genes: int = 500,
    seed: int = 0,
    **options: Any,
) -> Slide:
    """Simulate a slide without its truth; for the arguments see `simulate`.

    Examples
    --------
    >>> from napari_stsr import simulate_slide
    >>> print(simulate_slide(shape=(12, 12), genes=60, image=False))
    simulated square slide: 144 locations × 60 genes, square lattice, pitch 200 µm
    """
    return simulate(preset, lattice, shape, genes, seed, **options).slide


def _checked(
    preset: str, lattice: str, shape: tuple[int, int], genes: int, seed: int, domains: int
) -> Preset:
    """Preset of that name, once every argument can be used."""
    if preset not in PRESETS:
        raise InputError(f"There is no preset {preset!r}.", f"Choose {' or '.join(PRESETS)}.")
    if lattice not in _PITCH_UM:
        raise InputError(
            f"A slide with a {lattice!r} lattice cannot be simulated.",
            f"Choose {' or '.join(_PITCH_UM)}.",
        )
    if len(shape) != 2 or min(shape) < 4:
        raise InputError(f"A slide of {shape} spots is too small.", "Take at least (4, 4).")
    for name, value, least in (("genes", genes, 1), ("domains", domains, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"{name} = {value} cannot be.", f"Take at least {least}.")
    return PRESETS[preset]


def _parts(lattice: Lattice, parts: int | None) -> int:
    chosen = lattice.division(lattice.divisions[0] if parts is None else parts)
    # Six triangles are no lattice: no sum of finer locations makes them.
    if len(chosen.cells) != chosen.k:
        raise InputError(f"A simulated spot cannot be made of {chosen.k} parts.", "Choose 7.")
    return chosen.k


@dataclass(frozen=True, eq=False)
class _Array:
    """Spots of a slide before anything is measured on them."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    coordinates: NDArray[np.float64]
    lattice: Lattice
    size_um: NDArray[np.float64]

    @property
    def barcodes(self) -> NDArray[np.str_]:
        """Name of every spot, from its place on the array."""
        return np.array([f"SIM-{r:03d}x{c:03d}" for r, c in zip(self.rows, self.columns)])

    @property
    def um_per_px(self) -> float:
        """Scale of the stain: as many pixels a pitch on either lattice."""
        return self.lattice.pitch_um / _PX_PER_PITCH


def _array(lattice: str, shape: tuple[int, int]) -> _Array:
    """Lay out the spots, one pitch away from the border of the slide."""
    pitch = _PITCH_UM[lattice]
    rows, columns = (axis.ravel().astype(np.int64) for axis in np.indices(shape))
    step = np.array([pitch, pitch])
    if lattice == "hex":
        columns = 2 * columns + rows % 2
        step = pitch * np.array([0.5, np.sqrt(3) / 2])
    coordinates = pitch + np.column_stack([columns, rows]) * step
    found = Lattice.from_array(rows, columns, coordinates)
    return _Array(rows, columns, coordinates, found, coordinates.max(axis=0) + pitch)


def _in_tissue(ground: Tissue, parts: NDArray[np.float64], k: int) -> NDArray[np.bool_]:
    """Spots whose parts all lie in the tissue, so that no count lies on white paper."""
    inside = np.asarray((ground.depth(parts) > 0).reshape(-1, k).all(axis=1))
    if not inside.any():
        raise InputError(
            f"{len(inside)} spots are too few for a tissue with a border.",
            "Give the slide more spots, or use tissue=False.",
        )
    return inside


def _means(
    preset: Preset,
    ground: Tissue,
    places: NDArray[np.float64],
    genes: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Mean counts at the places for a library of ordinary size, (m, genes)."""
    domains = len(ground.seeds)
    on = rng.random((domains, genes)) < preset.on
    marked = np.repeat(np.arange(domains), min(preset.markers, genes // domains))
    on[:, : len(marked)] = marked == np.arange(domains)[:, None]
    level = np.where(on, _ON, _OFF) * np.exp(preset.spread * rng.standard_normal(on.shape))
    means = level[ground.domain(places)]
    if preset.gradient:
        fields = ground.gradients(places)
        loading = rng.standard_normal((fields.shape[1], genes)) / np.sqrt(fields.shape[1])
        means *= np.exp(preset.gradient * fields @ loading)
    return means


def _drawn(
    preset: Preset, means: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int32]:
    """Counts: a library per place, negative binomial, then zeros at random."""
    library = rng.lognormal(0, _LIBRARY_SPREAD, (len(means), 1))
    counts = rng.poisson(rng.gamma(preset.size, means * library / preset.size))
    counts[rng.random(counts.shape) < preset.zeros] = 0
    return counts.astype(np.int32)


def _genes(many: int, markers: int, domains: int) -> Genes:
    """Genes that nobody takes for real ones; the markers of a domain carry its number."""
    ids = np.array([f"SIM{number:03d}" for number in range(1, many + 1)])
    marked = [f"MARK{d}{chr(65 + m)}" for d in range(1, domains + 1) for m in range(markers)]
    return Genes(ids, np.array([*marked, *ids[len(marked) :]]))


def _image(ground: Tissue, array: _Array, rng: np.random.Generator) -> Pyramid:
    from napari_stsr.slides.histology import paint
    from napari_stsr.slides.image import pyramid_from_array

    width, height = np.ceil(array.size_um / array.um_per_px).astype(int).tolist()
    stained = paint(ground, (height, width), array.um_per_px, rng)
    return pyramid_from_array(stained, array.um_per_px)


def _annotations(array: _Array, domain: NDArray[np.int64]) -> pd.DataFrame:
    """Array position and most common domain of every spot."""
    many = np.stack([(domain == d).sum(axis=1) for d in range(-1, domain.max() + 1)])
    names = np.array(["", *(f"domain {d}" for d in range(1, domain.max() + 2))])
    return pd.DataFrame(
        {
            "array_row": array.rows,
            "array_col": array.columns,
            "domain": names[np.argmax(many, axis=0)],
        },
        index=array.barcodes,
    )
