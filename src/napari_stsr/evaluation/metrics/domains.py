"""Spatial domains: how well a partition of the locations meets known labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError

_BLOCK = 4_000_000


def adjusted_rand(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Adjusted Rand index (ARI): agreement of pairs, 0 by chance, 1 when perfect."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_checked(labels, clusters)))


def mutual_information(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Normalised mutual information (NMI), arithmetic mean of the entropies; not 0 by chance."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(*_checked(labels, clusters)))


def clustering_accuracy(
    labels: ArrayLike, clusters: ArrayLike, at: NDArray[np.bool_] | None = None
) -> float:
    """Clustering accuracy (CA): share of locations right under the best one-to-one naming.

    Clusters are given to labels by the Hungarian method; those left over are wrong throughout.

    Parameters
    ----------
    labels, clusters : (n,) arrays
    at : (n,) bool array, optional
        Locations to average over, such as those at a `boundary`; the naming still uses all.

    Raises
    ------
    InputError
        When there is but one label, no location, or none to average over.
    """
    right = _right(*_checked(labels, clusters))
    if at is None:
        return float(right.mean())
    if np.shape(at) != right.shape or not np.any(at):
        raise InputError(
            f"Accuracy over {int(np.sum(at))} of {len(right)} locations cannot be computed.",
            "Domains of which no two meet have no boundary.",
        )
    return float(right[at].mean())


def boundary(labels: ArrayLike, neighbours: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each location has a neighbour of another label.

    Parameters
    ----------
    labels : (n,) array
    neighbours : (n, s) int array
        Neighbours of every location, -1 where there is none.
    """
    known = np.asarray(labels)
    if len(neighbours) != len(known):
        raise InputError(f"Neighbours of {len(neighbours)} locations, labels of {len(known)}.")
    other = known[neighbours] != known[:, None]
    return np.asarray((other & (neighbours >= 0)).any(axis=1))


def silhouette(embedding: ArrayLike, labels: ArrayLike, most: int = 5000, seed: int = 0) -> float:
    """Mean silhouette of labels in an embedding, −1 to 1, on at most `most` random locations."""
    from sklearn.metrics import silhouette_score

    points = np.asarray(embedding, dtype=np.float64)
    known, _ = _checked(labels, np.zeros(len(np.atleast_1d(labels))))
    if len(points) != len(known):
        raise InputError(f"The embedding has {len(points)} locations, the labels {len(known)}.")
    if not np.isfinite(points).all():
        raise InputError("The embedding holds values that are no numbers.")
    if len(known) > most:
        chosen = np.random.default_rng(seed).choice(len(known), most, replace=False)
        points, known = points[chosen], known[chosen]
    kinds = len(np.unique(known))
    if not 2 <= kinds < len(known):
        raise InputError(
            f"{len(known)} locations of {kinds} labels have no silhouette.",
            "It needs at least two labels and more locations than labels.",
        )
    return float(silhouette_score(points, known))


def label_transfer(
    embedding: ArrayLike, labels: ArrayLike, other: ArrayLike, other_labels: ArrayLike
) -> float:
    """LTARI, as we define it: ARI of labels carried over from another slice.

    Every location of the slice takes the label of the most similar location (cosine) of the other
    slice in their joint embedding; these labels are compared with its own. The name comes without
    a formula from Spotscape's paper; the definition is ours.

    Parameters
    ----------
    embedding, other : (n, d) and (m, d) arrays
        Joint embedding of the slice that is judged and of the slice that gives the labels.
    labels, other_labels : (n,) and (m,) arrays
    """
    mine, theirs = (_directions(points) for points in (embedding, other))
    given = np.asarray(other_labels)
    if len(given) != len(theirs) or mine.shape[1] != theirs.shape[1]:
        raise InputError(
            f"Embeddings are {mine.shape} and {theirs.shape} with {len(given)} labels to give.",
            "Both slices need the same dimensions, and the second a label per location.",
        )
    rows = max(1, _BLOCK // len(theirs))
    nearest = [
        np.argmax(mine[start : start + rows] @ theirs.T, axis=1)
        for start in range(0, len(mine), rows)
    ]
    return adjusted_rand(labels, given[np.concatenate(nearest)])


def principal_components(values: ArrayLike, many: int = 15, seed: int = 0) -> NDArray[np.float64]:
    """First principal components of locations (m, many), scaled so that the first has sd 1."""
    from sklearn.decomposition import PCA

    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise InputError("Components need a table of finite numbers and at least two locations.")
    if np.ptp(x, axis=0).max() == 0:
        return np.zeros((len(x), 1))
    made = PCA(
        min(many, *x.shape), svd_solver="randomized", random_state=seed % 2**32
    ).fit_transform(x)
    return np.asarray(made / made[:, 0].std())


def partition(components: NDArray[np.float64], clusters: int, seed: int = 0) -> NDArray[np.int64]:
    """Domains by one fixed recipe for all methods: a Gaussian mixture, the best of 3 starts.

    Parameters
    ----------
    components : (m, d) array
        From `principal_components` of logs of counts per 10,000.
    clusters : int
        Number of known labels.

    Raises
    ------
    InputError
        When there are not more locations than clusters.
    """
    from sklearn.mixture import GaussianMixture

    if len(components) <= clusters or clusters < 2:
        raise InputError(f"{len(components)} locations cannot be split into {clusters} domains.")
    if np.ptp(components, axis=0).max() == 0:
        return np.zeros(len(components), dtype=np.int64)
    mixture = GaussianMixture(clusters, reg_covar=1e-4, n_init=3, random_state=seed % 2**32)
    return np.asarray(mixture.fit_predict(components), dtype=np.int64)


def _checked(labels: ArrayLike, clusters: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and clusters as whole numbers."""
    known, found = np.asarray(labels), np.asarray(clusters)
    if known.shape != found.shape or known.ndim != 1 or not known.size:
        raise InputError(
            f"{known.size} labels cannot be compared with {found.size} clusters.",
            "Give one of each per location, and at least one location.",
        )
    names, numbers = np.unique(known, return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"All {known.size} locations have the label {str(names[0])!r}.",
            "Domains can be judged only where there are at least two labels.",
        )
    return numbers, np.unique(found, return_inverse=True)[1]


def _right(known: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each location is right under the best one-to-one naming of clusters."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    rows, columns = linear_sum_assignment(contingency_matrix(known, found), maximize=True)
    name = np.full(found.max() + 1, -1)
    name[columns] = rows
    return np.asarray(name[found] == known)


def _directions(points: ArrayLike) -> NDArray[np.float32]:
    values = np.asarray(points, dtype=np.float32)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise InputError("An embedding must be a table of numbers with at least one location.")
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1))
