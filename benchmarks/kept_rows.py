"""Rows of a table, kept in a folder by what they depend on, so that a long benchmark can go on."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_stsr.evaluation.fingerprint import code_fingerprint, slide_fingerprint, versions
from napari_stsr.files import written_aside
from napari_stsr.methods import get_method
from napari_stsr.slides import Slide


def kept(
    folder: Path, slide: Slide, method: str | None, told: Sequence[Any], work: Callable[[], Any]
) -> Any:
    """What `work` returns, or returned before; it must survive JSON.

    Parameters
    ----------
    folder : Path
    slide : Slide
        What is worked on.
    method : str, optional
        Whose code the row depends on.
    told : sequence
        All else that decides it; of functions the text counts.
    work : callable
    """
    code = code_fingerprint(type(get_method(method))) if method else ""
    plain = [inspect.getsource(one) if callable(one) else one for one in told]
    depends_on = json.dumps([plain, slide_fingerprint(slide), code, versions()], default=str)
    at = folder / f"{hashlib.sha256(depends_on.encode()).hexdigest()[:16]}.json"
    if not at.is_file():
        found = work()
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(at) as aside:
            aside.write_text(json.dumps(found))
    return json.loads(at.read_text())
