"""Methods by name, found through the entry-point group ``napari_stsr.methods``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Method


@cache
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="napari_stsr.methods")}


def method_names() -> tuple[str, ...]:
    """Names of all installed methods, ours first."""
    ours = ("square", "suica", "magnet", "spotscape")
    return tuple(sorted(_found(), key=lambda n: (ours.index(n) if n in ours else len(ours), n)))


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
