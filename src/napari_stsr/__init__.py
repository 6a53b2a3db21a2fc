"""Interactive spatial super-resolution: open a slide, enhance it, look, export.

>>> import napari_stsr as stsr
>>> slide = stsr.open_slide("outs")                          # doctest: +SKIP
>>> result = stsr.enhance(slide, method="square")            # doctest: +SKIP
>>> values = result.expression(["ERBB2"])                    # doctest: +SKIP
>>> stsr.export(result, "enhanced.h5ad")                     # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_stsr.errors import InputError, RunError, StsrError
    from napari_stsr.methods import get_method, method_names
    from napari_stsr.results import Attention, Enhancement
    from napari_stsr.results.writers import export, read_enhancement
    from napari_stsr.session import (
        Model,
        denoise,
        enhance,
        fit,
        impute,
        load_model,
        predict,
        save_model,
    )
    from napari_stsr.slides import Lattice, Region, Slide, Targets, read_regions, read_targets
    from napari_stsr.slides.pooling import pool_cells
    from napari_stsr.slides.readers import open_slide, read_cells
    from napari_stsr.slides.simulate import simulate_slide
    from napari_stsr.training import Run

__version__ = "0.1.0"

# Imported on first use: `import napari_stsr` itself stays under 0.1 s.
_HOMES = {
    "InputError": "errors",
    "RunError": "errors",
    "StsrError": "errors",
    "get_method": "methods",
    "method_names": "methods",
    "Attention": "results",
    "Enhancement": "results",
    "export": "results.writers",
    "read_enhancement": "results.writers",
    "Model": "session",
    "denoise": "session",
    "enhance": "session",
    "fit": "session",
    "impute": "session",
    "load_model": "session",
    "predict": "session",
    "save_model": "session",
    "Lattice": "slides",
    "Region": "slides",
    "Slide": "slides",
    "Targets": "slides",
    "read_regions": "slides",
    "read_targets": "slides",
    "pool_cells": "slides.pooling",
    "open_slide": "slides.readers",
    "read_cells": "slides.readers",
    "simulate_slide": "slides.simulate",
    "Run": "training",
}

__all__ = [
    "Attention",
    "Enhancement",
    "InputError",
    "Lattice",
    "Model",
    "Region",
    "Run",
    "RunError",
    "Slide",
    "StsrError",
    "Targets",
    "__version__",
    "denoise",
    "enhance",
    "export",
    "fit",
    "get_method",
    "impute",
    "load_model",
    "method_names",
    "open_slide",
    "pool_cells",
    "predict",
    "read_cells",
    "read_enhancement",
    "read_regions",
    "read_targets",
    "save_model",
    "simulate_slide",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
