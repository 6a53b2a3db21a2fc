"""Protocols: each hides a part of a slide and asks for it back."""

from __future__ import annotations

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols.across import leave_slide_out
from napari_stsr.evaluation.protocols.base import Protocol
from napari_stsr.evaluation.protocols.cells import PseudoVisium
from napari_stsr.evaluation.protocols.entries import CountSplit, MutedGenes, Noise
from napari_stsr.evaluation.protocols.hidden import HiddenBlocks, HiddenSpots
from napari_stsr.evaluation.protocols.superspots import HdBins, Superspots
from napari_stsr.slides import Slide

__all__ = ["Protocol", "available", "leave_slide_out", "protocol", "protocol_names"]

_PROTOCOLS: dict[str, Protocol] = {
    one.name: one
    for one in (
        HiddenSpots(),
        HiddenBlocks(),
        Superspots(split=False),
        Superspots(split=True),
        PseudoVisium(split=False),
        PseudoVisium(split=True),
        HdBins(),
        MutedGenes(),
        Noise(),
        CountSplit(),
    )
}


def protocol_names() -> tuple[str, ...]:
    """Names of all protocols."""
    return tuple(_PROTOCOLS)


def protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises
    ------
    InputError
        When there is none.
    """
    if name not in _PROTOCOLS:
        raise InputError(f"There is no protocol {name!r}.", f"Choose from {', '.join(_PROTOCOLS)}.")
    return _PROTOCOLS[name]


def available(slide: Slide, folds: int = 5) -> dict[str, str]:
    """Say of every protocol why this slide cannot do it; "" where it can."""
    reasons = {}
    for name, one in _PROTOCOLS.items():
        try:
            one.check(slide, folds)
            reasons[name] = ""
        except InputError as error:
            reasons[name] = str(error)
    return reasons
