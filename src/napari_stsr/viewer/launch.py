"""Build the whole window: viewer, panels and layout. Used by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_stsr.viewer.desk import Desk, desk_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stsr.results import Enhancement
    from napari_stsr.slides import Slide

_TITLE = "Super-resolution"
# Where the screen has room.
_SIZE = (1720, 1000)


def view(path: str, result: str | None = None) -> None:
    """Open a slide, and a result of it, in the window; returns when it is closed.

    Parameters
    ----------
    path : str
        Anything `open_slide` takes.
    result : str, optional
        An exported h5ad or zarr.
    """
    import napari

    viewer = napari.Viewer(title=_TITLE)
    open_in(viewer, path, result)
    napari.run()


def open_in(viewer: Viewer, path: str, result: str | None = None) -> None:
    """Lay out the panels and open a slide; a result comes into view once the slide is drawn."""
    panels = build_layout(viewer)
    if result is not None:
        drawn = desk_of(viewer).scene.drawn

        def read() -> None:
            drawn.disconnect(read)
            panels["Explore"].read_result(result)

        drawn.connect(read)
    panels["Slide"].open(path)


def demo_window(slide: Slide, result: Enhancement) -> None:
    """Show a slide and a result that are in memory; returns when the window is closed."""
    import napari

    viewer = napari.Viewer(title=_TITLE)
    build_layout(viewer)
    show(desk_of(viewer), slide, result)
    napari.run()


def show(desk: Desk, slide: Slide, result: Enhancement | None = None) -> None:
    """Put a slide and a result on a desk."""
    desk.adopt(slide)
    if result is not None:
        desk.show_result(result)


def build_layout(viewer: Viewer) -> dict[str, Any]:
    """Dock the panels: Slide and Enhance share a column, Explore and Validate stand beside it.

    Returns
    -------
    dict
        Panel by name.
    """
    from napari_stsr.viewer.panels.enhance import EnhancePanel
    from napari_stsr.viewer.panels.explore import ExplorePanel
    from napari_stsr.viewer.panels.slide import SlidePanel
    from napari_stsr.viewer.panels.validate import ValidatePanel

    kinds = {
        "Slide": SlidePanel,
        "Enhance": EnhancePanel,
        "Explore": ExplorePanel,
        "Validate": ValidatePanel,
    }
    panels: dict[str, Any] = {name: kind(viewer) for name, kind in kinds.items()}
    # Beside first, below second: otherwise Explore would stand beside Slide alone.
    for name in ("Slide", "Explore", "Enhance", "Validate"):
        viewer.window.add_dock_widget(panels[name], name=name, area="right")
    docks = {name: dock_of(panel) for name, panel in panels.items()}
    window = panels["Slide"].window()
    assert isinstance(window, QMainWindow)
    room = window.screen().availableSize()
    window.resize(min(_SIZE[0], room.width()), min(_SIZE[1], room.height()))
    if window.width() >= 1400:
        window.splitDockWidget(docks["Slide"], docks["Explore"], Qt.Orientation.Horizontal)
        window.splitDockWidget(docks["Slide"], docks["Enhance"], Qt.Orientation.Vertical)
    else:
        window.tabifyDockWidget(docks["Enhance"], docks["Explore"])
    window.tabifyDockWidget(docks["Explore"], docks["Validate"])
    docks["Explore"].raise_()

    def share_out() -> None:
        wide, tall = [docks["Slide"], docks["Explore"]], [docks["Slide"], docks["Enhance"]]
        window.resizeDocks(wide, [330, 310], Qt.Orientation.Horizontal)
        window.resizeDocks(tall, [290, 670], Qt.Orientation.Vertical)

    # Docks have no sizes to share out before the window has been laid out once.
    QTimer.singleShot(0, share_out)
    return panels


def dock_of(panel: QWidget) -> QDockWidget:
    """Return the dock a panel was put into."""
    outer: Any = panel
    while not isinstance(outer, QDockWidget):
        outer = outer.parent()
    return outer
