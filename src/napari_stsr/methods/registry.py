"""Methods by name, found through the entry-point group ``napari_stsr.methods``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Method


@cache
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="napari_stsr.methods")}


# Methods first, then baselines, strongest first, then peers; those of others come in between.
_METHODS = ("square", "suica", "magnet", "spotscape")
_JUDGES = (
    "factor_kernel",
    "poisson_kernel",
    "kriging",
    "thin_plate",
    "kernel",
    "inverse_distance",
    "linear",
    "cubic",
    "nearest",
    "gene_mean",
    "uniform_split",
    "bayesspace",
    "stage",
    "card",
)


def method_names() -> tuple[str, ...]:
    """Names of all installed methods: ours, those of others, baselines, peers."""

    def place(name: str) -> tuple[int, int, str]:
        if name in _METHODS:
            return 0, _METHODS.index(name), name
        return (2, _JUDGES.index(name), name) if name in _JUDGES else (1, 0, name)

    return tuple(sorted(_found(), key=place))


@cache
def get_method(name: str) -> Method:
    """Return the method of that name.

    Raises
    ------
    InputError
        When there is none.
    """
    if name not in _found():
        able = ", ".join(method_names()) or "none; install the package first"
        raise InputError(f"There is no method {name!r}.", f"Installed methods: {able}.")
    kind: type[Method] = _found()[name].load()
    return kind()
