"""The instant preview: every gene of a slide by the best cheap baseline, before anything is run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qtpy.QtCore import QObject, Signal
from shapely.geometry import MultiPolygon, Polygon

from napari_stsr.errors import InputError
from napari_stsr.methods import Fitted
from napari_stsr.results import Enhancement
from napari_stsr.session import Plan, support
from napari_stsr.slides import Region, Slide, Targets
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome
from napari_stsr.viewer.background import Background

METHOD = "factor_kernel"
# A fit nobody asked for must be over before they have looked around, and its twenty amounts per
# target (80 bytes each) must not be felt.
_MOST_SECONDS, _MOST_TARGETS = 90.0, 1_000_000


@dataclass(frozen=True)
class Aim:
    """Where the preview is wanted: the places chosen in the Enhance panel.

    Parameters
    ----------
    subspots : int, optional
        Parts per location; the lattice's default where no grid is named.
    grid_um : float, optional
        Square grid of this step instead.
    outline : polygon or polygons in µm, optional
        Only here; the whole tissue otherwise.
    """

    subspots: int | None = None
    grid_um: float | None = None
    outline: Polygon | MultiPolygon | None = None

    def targets(self, slide: Slide) -> Targets:
        """Places of a slide to predict at."""
        region = None if self.outline is None else Region("preview", self.outline)
        plan = Plan(METHOD, subspots=self.subspots, grid_um=self.grid_um, region=region)
        return plan.targets(slide)


class Kernel:
    """The baseline on one slide: fitted once, when it is first asked. For a worker thread.

    Parameters
    ----------
    slide : Slide
    """

    def __init__(self, slide: Slide) -> None:
        self.slide, self.run = slide, Run()
        self._fitted: Fitted | None = None

    def at(self, aim: Aim) -> Enhancement:
        """Predict all genes, lazily, at some places.

        Raises
        ------
        InputError
            When slide or places are too many for a fit nobody asked for, or cannot be fitted.
        Cancelled
            When `run` was cancelled.
        """
        targets = aim.targets(self.slide)
        if len(targets) > _MOST_TARGETS:
            raise InputError(
                f"{len(targets):,} places are more than the {_MOST_TARGETS:,} it can show.",
                "Choose a coarser grid or a region in Enhance.",
            )
        if self._fitted is None:
            self._fitted = self._fit(targets)
        result = self._fitted.predict(targets, self.run)
        in_tissue, supported = support(self.slide, targets)
        return replace(
            result, in_tissue=in_tissue, supported=supported, provenance={"method": METHOD}
        )

    def _fit(self, targets: Targets) -> Fitted:
        from napari_stsr.methods.baselines import FactorKernel

        # Its own amounts: tied to the counts they would show the noise of every spot again.
        method, params = FactorKernel(), FactorKernel().parameters("auto", {"conserve": "off"})
        method.check(self.slide, targets, params)
        self._refuse_long(method.estimate(self.slide, targets, params).seconds)
        return outcome(method.fit(self.slide, params, self.run))

    def _refuse_long(self, seconds: float) -> None:
        if seconds > _MOST_SECONDS:
            raise InputError(
                f"{len(self.slide):,} {self.slide.location_word}s would take about "
                f"{seconds:.0f} s.",
                "Run Factor kernel in Enhance, for all or for some genes.",
            )


class InstantPreview(QObject):
    """Keeps the preview of the newest slide at the newest places, in the background.

    Signals
    -------
    ready : (Enhancement)
    failed : (Failure)
        There is none, and why.
    """

    ready = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = Background(self)
        self._worker.answered.connect(self.ready)
        self._worker.failed.connect(self.failed)
        self._aim = Aim()
        self._kernel: Kernel | None = None

    @property
    def slide(self) -> Slide | None:
        """The slide it is made of."""
        return None if self._kernel is None else self._kernel.slide

    @property
    def busy(self) -> bool:
        """Whether a preview is on its way."""
        return self._worker.busy

    def start(self, slide: Slide) -> None:
        """Fit a slide; what was under way for another one is cancelled."""
        self.stop()
        self._kernel = Kernel(slide)
        self._ask()

    def aim(self, aim: Aim) -> None:
        """Predict at other places, now and for the slides to come."""
        if aim != self._aim:
            self._aim = aim
            self._ask()

    def _ask(self) -> None:
        kernel, aim = self._kernel, self._aim
        if kernel is not None:
            self._worker.ask(lambda: kernel.at(aim))

    def stop(self) -> None:
        """Cancel what is under way and forget the slide."""
        if self._kernel is not None:
            self._kernel.run.cancel.cancel()
        self._kernel = None
        self._worker.forget()

    def close(self) -> None:
        """Stop and end the thread."""
        self.stop()
        self._worker.close()
