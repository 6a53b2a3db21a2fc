"""Pictures of a field as they come, off the GUI thread; the newest wish counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, Signal

from napari_stsr.session.field import Bounds, Field, FieldPicture
from napari_stsr.slides import Region, Slide
from napari_stsr.training import Run
from napari_stsr.viewer.background import Background
from napari_stsr.viewer.layers.look import Percentiles

Limits = tuple[float, float]


@dataclass(frozen=True, eq=False)
class FieldWish:
    """What is to be seen of a field.

    Parameters
    ----------
    gene, label : str
        Id of the gene, and what it is called.
    step_um : float
    contrast : Percentiles
        Of the gene over the whole field, so that colours keep their meaning when the view moves.
    bounds : (x, y, x, y) in µm, optional
        The window; all there is by default.
    region : Region, optional
        Only inside.
    limits : (float, float), optional
        These instead.
    """

    gene: str
    label: str
    step_um: float
    contrast: Percentiles
    bounds: Bounds | None = None
    region: Region | None = None
    limits: Limits | None = None


@dataclass(frozen=True, eq=False)
class Painted:
    """A picture with its contrast, and the wish it answers."""

    wish: FieldWish
    picture: FieldPicture
    limits: Limits


@dataclass(frozen=True, eq=False)
class Profile:
    """Genes at a place: predicted there, and measured at the nearest location.

    Attributes
    ----------
    place : (2,) float array
        (x, y) in µm.
    labels : list of str
    predicted, measured : (g,) float arrays
        Expected counts of a whole location centred at the place, and counts.
    barcode : str
        The nearest measured location.
    away_um : float
        How far it is.
    """

    place: NDArray[np.float64]
    labels: list[str]
    predicted: NDArray[np.float32]
    measured: NDArray[np.float32]
    barcode: str
    away_um: float

    @classmethod
    def of(
        cls, field: Field, slide: Slide, genes: Sequence[str], place: NDArray[np.float64]
    ) -> Profile:
        """Evaluate a field at a place, and look up the location nearest to it."""
        predicted = field.profile(genes, place)
        away = np.linalg.norm(slide.coordinates - place, axis=1)
        near = int(np.argmin(away))
        columns = slide.genes.columns(genes)
        measured = np.asarray(slide.counts.rows[near][:, columns].todense())[0]
        labels = [slide.genes.label(int(column)) for column in columns]
        barcode = str(slide.barcodes[near])
        return cls(place, labels, predicted, measured, barcode, float(away[near]))


class FieldPainter(QObject):
    """Evaluates one wish at a time; a new one cancels the one before.

    Signals
    -------
    painted : (Painted)
        Coarse to fine, in the GUI thread.
    failed : (Failure)
    """

    painted = Signal(object)
    failed = Signal(object)
    _made = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = Background(self)
        self._worker.failed.connect(self.failed)
        self._run = Run()
        self._made.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # Whoever closes the panel stops its work; must not hold this object itself.
        self._newest = [self._run]
        self.destroyed.connect(partial(_cancel, self._newest))

    @property
    def busy(self) -> bool:
        """Whether a finer picture is on its way."""
        return self._worker.busy

    def prepare(self, field: Field) -> None:
        """Do once what the first picture of a field would wait for."""
        self.stop()
        run = self._begin(field.device)
        self._worker.ask(lambda: field.prepare(run))

    def show(self, field: Field, wish: FieldWish) -> None:
        """Paint a wish; `painted` or `failed` follows."""
        self.stop()
        run = self._begin(field.device)
        self._worker.ask(lambda: self._paint(field, wish, run))

    def _begin(self, device: str = "auto") -> Run:
        self._run = self._newest[0] = Run(device=device)
        return self._run

    def _paint(self, field: Field, wish: FieldWish, run: Run) -> None:
        """Work in the worker's thread."""
        bounds = wish.bounds if wish.region is None else None
        step = field.finest(wish.step_um, bounds, wish.region)
        limits = wish.limits or wish.contrast.limits(field.usual(wish.gene, run))
        for picture in field.pictures(wish.gene, step, bounds, wish.region, run):
            run.cancel.check()
            self._made.emit(run, Painted(wish, picture, limits))

    def _deliver(self, run: Run, painted: Painted) -> None:
        if run is self._run:
            self.painted.emit(painted)

    def stop(self) -> None:
        """Stop what is under way."""
        _cancel(self._newest)
        self._begin()
        self._worker.forget()

    def close(self) -> None:
        """Stop and end the thread."""
        self.stop()
        self._worker.close()


def _cancel(newest: list[Run], _: object = None) -> None:
    newest[0].cancel.cancel()
