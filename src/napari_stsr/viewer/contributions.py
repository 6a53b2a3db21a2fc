"""What napari finds through the manifest: readers, writers and samples."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from napari.types import LayerDataTuple

from napari_stsr.errors import InputError
from napari_stsr.viewer.layers.look import OURS

PathLike = str | os.PathLike[str]
Read = Callable[[Any], list[LayerDataTuple]]

# napari's sign for "handled, and no layers to add".
_HANDLED: list[Any] = [(None,)]


def get_reader(path: PathLike | list[PathLike]) -> Read | None:
    """Return the reader of a slide or a result; None at once for anything else.

    Every folder that is dropped on napari arrives here: only names and headers are looked at.
    """
    if isinstance(path, list) and len(path) != 1:
        return None
    one = os.fspath(path[0] if isinstance(path, list) else path)
    if is_result(one):
        return lambda _: read_result(one)
    from napari_stsr.slides.readers import is_slide

    return (lambda _: read_slide(one)) if is_slide(one) else None


def read_slide(path: str) -> list[LayerDataTuple]:
    """Read a slide into layers.

    With one of our panels open it is opened in the background, and its layers come by themselves.
    """
    from napari_stsr.slides.readers import open_slide

    desk = _open_desk()
    if desk is not None:
        desk.open(lambda: open_slide(path), path)
        return _HANDLED
    from napari_stsr.viewer.scene import slide_layers

    return slide_layers(open_slide(path))


def is_result(path: str) -> bool:
    """Whether a file holds an exported enhancement; never raises."""
    if path.endswith(".h5ad"):
        import h5py

        try:
            with h5py.File(path) as file:
                return f"uns/{OURS}" in file
        except OSError:
            return False
    return path.endswith(".zarr") and os.path.isdir(os.path.join(path, "tables", "predicted"))


def read_result(path: str) -> list[LayerDataTuple]:
    """Read an exported enhancement: an image of its most abundant gene."""
    from napari_stsr.results.writers import read_enhancement
    from napari_stsr.session.belonging import check_result
    from napari_stsr.viewer.layers.frames import result_frame

    result = read_enhancement(path)
    desk = _open_desk()
    if desk is not None and desk.slide is not None:
        check_result(result, desk.slide)
        desk.show_result(result)
        return _HANDLED
    return [result_frame(result).layer_data()]


def _open_desk() -> Any:
    """Return the desk of the current viewer if one of our panels is open."""
    import napari

    from napari_stsr.viewer.desk import desk_if_open

    viewer = napari.current_viewer()
    return None if viewer is None else desk_if_open(viewer)


def write_result(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the enhancement behind a layer, all its genes, with its provenance.

    Raises
    ------
    InputError
        When the layer shows no enhancement.
    """
    from napari_stsr.results.writers import export

    about = meta.get("metadata", {}).get(OURS, {})
    result = about.get("result")
    if result is None:
        raise InputError(
            f"The layer {meta.get('name', '')!r} shows no enhancement.",
            "Select an enhanced layer, or export from the Explore panel.",
        )
    export(result, path)
    return [path]


def write_measured(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the measured values behind a layer: barcode, x and y in µm, value.

    napari's own writer would save data coordinates without their unit.

    Raises
    ------
    InputError
        When the layer shows no slide.
    """
    from pathlib import Path

    import pandas as pd

    from napari_stsr.files import written_aside

    slide = meta.get("metadata", {}).get(OURS, {}).get("slide")
    if slide is None:
        raise InputError(f"The layer {meta.get('name', '')!r} shows no slide.")
    values = meta["features"]["value"]
    table = pd.DataFrame(
        {
            "barcode": slide.barcodes,
            "x_um": slide.coordinates[:, 0],
            "y_um": slide.coordinates[:, 1],
            meta.get("name", "value"): values.to_numpy(),
        }
    )
    with written_aside(Path(path)) as aside:
        table.to_csv(aside, index=False)
    return [path]


def sample_simulated() -> list[LayerDataTuple]:
    """Make a simulated slide with a matching H&E-like image."""
    from napari_stsr.slides.simulate import simulate_slide
    from napari_stsr.viewer.scene import slide_layers

    return slide_layers(simulate_slide())
