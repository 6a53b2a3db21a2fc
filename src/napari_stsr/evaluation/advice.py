"""Why a slide cannot do a protocol, with a remedy that helps."""

from __future__ import annotations

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols import available, protocol
from napari_stsr.slides import Slide

_FEWER = ", or fewer folds"


def check_protocol(name: str, slide: Slide, folds: int) -> None:
    """Raise InputError where this slide cannot do the protocol.

    Fewer folds are advised only where they are enough.
    """
    asked = protocol(name)
    try:
        asked.check(slide, folds)
    except InputError as error:
        if _FEWER not in error.remedy:
            raise
        try:
            asked.check(slide, 1)
        except InputError as still:
            many = int(slide.in_tissue.sum())
            raise InputError(
                f"{many} {slide.location_word}s are too few for {name}, whatever the folds.",
                still.remedy.replace(_FEWER, ""),
            ) from None
        raise


def why_not(slide: Slide, folds: int) -> dict[str, str]:
    """Say of every protocol why this slide cannot do it; "" where it can."""
    reasons = available(slide, folds)
    for name in [name for name, why in reasons.items() if why]:
        try:
            check_protocol(name, slide, folds)
        except InputError as error:
            reasons[name] = str(error)
    return reasons
