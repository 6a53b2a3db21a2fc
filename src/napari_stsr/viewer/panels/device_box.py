"""Choose what to compute on."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox

from napari_stsr.viewer.background import Background
from napari_stsr.viewer.panels.kept import keep, kept


class DeviceBox(QComboBox):
    """Devices of this computer, "auto" first; the choice is kept between starts.

    Parameters
    ----------
    place : str
        What the choice is kept under.
    """

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._finder = Background(self)
        self._finder.answered.connect(self._offer)
        self.addItem("Automatic", "auto")
        self.activated.connect(lambda _: keep(place, self.device))

    @property
    def device(self) -> str:
        """Name of the device chosen, as `Run` takes it."""
        return str(self.currentData())

    def look(self) -> None:
        """Look for the devices, once: it imports torch, and that not in the GUI thread."""
        if self.count() == 1:
            self._finder.ask(_find)

    def _offer(self, found: list[tuple[str, str]]) -> None:
        if self.count() > 1:
            return
        for name, label in found:
            self.addItem(label, name)
        self.setCurrentIndex(max(0, self.findData(kept(self._place, "auto"))))


def _find() -> list[tuple[str, str]]:
    from napari_stsr.training.device import devices

    return [(found.name, f"{found.name} – {found.label}") for found in devices()]
