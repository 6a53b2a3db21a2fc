"""What the data layers show for one gene: values painted and contrast chosen, in any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from napari.types import LayerDataTuple
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_stsr.methods import get_method, method_names
from napari_stsr.results import Enhancement
from napari_stsr.session import TASKS, Task
from napari_stsr.slides import Slide, Targets
from napari_stsr.viewer.layers import attention
from napari_stsr.viewer.layers.difference import Bearing
from napari_stsr.viewer.layers.look import (
    ENHANCED_COLORMAP,
    MEASURED_COLORMAP,
    OURS,
    Percentiles,
    certainty,
    clear_low,
    clear_middle,
)
from napari_stsr.viewer.layers.places import Limits, Places, places_of_slide, places_of_targets

Kind = Literal[
    "measured", "kernel", "enhanced", "denoised", "difference", "uncertainty", "attention"
]
MapKind = Literal["hidden", "predicted", "error"]
MapName = Literal["own share", "one-sidedness"]
TOTAL = "Total counts"


@dataclass(frozen=True, eq=False)
class Frame:
    """One layer's next picture.

    Attributes
    ----------
    kind : str
        One of `Kind`, or of `MapKind` for the maps of an evaluation.
    name : str
        For the layer list; says measured or enhanced.
    values : float32 array
        One value a place.
    painted : array
        The same as the layer holds it: values, or colours where the picture fades.
    """

    kind: Kind | MapKind
    name: str
    places: Places
    values: NDArray[np.float32]
    painted: NDArray[Any]
    limits: Limits
    colormap: Colormap
    metadata: dict[str, Any] = field(default_factory=dict)

    def layer_data(self, **attributes: Any) -> LayerDataTuple:
        """Describe a new layer that shows this frame."""
        about = {"metadata": {OURS: {"kind": self.kind, **self.metadata}}, "opacity": 0.8}
        return self.places.layer_data(
            self.painted, self.limits, self.colormap, name=self.name, **about, **attributes
        )


@dataclass(frozen=True)
class AttentionMap:
    """Which summary of attention is mapped, of which layer and head (None: the mean of all)."""

    name: MapName = "own share"
    layer: int | None = None
    head: int | None = None

    def values(self, result: Enhancement) -> NDArray[np.float32]:
        """One value a target, 0 … 1."""
        compute = attention.own_share if self.name == "own share" else attention.pull
        return compute(result, self.layer, self.head)


@dataclass(frozen=True, eq=False)
class View:
    """What is to be seen: a gene of a slide and of a result, and how.

    Parameters
    ----------
    slide : Slide
    result : Enhancement, optional
    gene : str, optional
        Gene id; the total counts without one.
    contrast : Percentiles
    shared : bool
        Measured and enhanced use one contrast: the same colour is the same count per area.
    attention : AttentionMap, optional
    kernel : Enhancement, optional
        The instant preview by a kernel, which no one asked for and nothing else draws on.
    faded : bool
        Predicted pictures are the fainter the less certain they are, where that is known.
    """

    slide: Slide
    result: Enhancement | None = None
    gene: str | None = None
    contrast: Percentiles = field(default_factory=Percentiles)
    shared: bool = False
    attention: AttentionMap | None = None
    kernel: Enhancement | None = None
    faded: bool = False

    @property
    def label(self) -> str:
        """What the gene is called."""
        if self.gene is None:
            return TOTAL
        return self.slide.genes.label(self.slide.genes.column(self.gene))

    @property
    def predicted(self) -> bool:
        """Whether the result holds the gene."""
        return self.result is not None and self.gene in _ids(self.result)


def frames(view: View) -> Iterator[Frame]:
    """Compute the pictures of a view: measured first, then what the result can show."""
    slide = view.slide
    places = _slide_places(slide)
    if view.gene is None:
        counts = slide.counts.totals.astype(np.float32)
    else:
        counts = slide.counts.column(slide.genes.column(view.gene))
    shown = predicted_frames(view, counts) if view.result is not None else []
    limits = view.contrast.limits(counts)
    if view.shared:
        for frame in shown:
            if frame.kind == "enhanced" and view.result is not None:
                share = bearing_of(slide, view.result).usual_share
                limits = (frame.limits[0] / share, frame.limits[1] / share)
    if view.kernel is not None and view.gene is not None:
        shown = [kernel_frame(view, view.kernel, view.gene, limits), *shown]
    yield Frame(
        "measured",
        f"{view.label} · measured",
        places,
        counts,
        places.painted(counts),
        limits,
        clear_low(MEASURED_COLORMAP),
        {"slide": slide},
    )
    yield from shown


def predicted_frames(view: View, counts: NDArray[np.float32]) -> list[Frame]:
    """Every picture the result can show of the gene, and of its attention."""
    result = view.result
    assert result is not None
    made = []
    if view.predicted and view.gene is not None:
        made += enhanced_frames(view, counts, result.genes.columns([view.gene]))
    if view.attention is not None and result.attention is not None:
        places = _target_places(result)
        values = view.attention.values(result)
        name = f"Attention, {view.attention.name} ({describe(result)})"
        painted = places.painted(values)
        colours = clear_low("inferno")
        made.append(Frame("attention", name, places, values, painted, _unit(values), colours))
    return made


def kernel_frame(view: View, kernel: Enhancement, gene: str, measured: Limits) -> Frame:
    """Return the instant preview; its name says so, never that it was measured or enhanced."""
    values = kernel.expression([gene])[:, 0]
    limits = view.contrast.limits(values)
    if view.shared:
        share = bearing_of(view.slide, kernel).usual_share
        limits = (measured[0] * share, measured[1] * share)
    return Frame(
        "kernel",
        f"{view.label} · preview by {_method_of(kernel).lower()}, {_where(kernel.targets)}",
        _target_places(kernel),
        values,
        _target_places(kernel).painted(values),
        limits,
        clear_low(ENHANCED_COLORMAP),
    )


def enhanced_frames(
    view: View, counts: NDArray[np.float32], column: NDArray[np.int64]
) -> list[Frame]:
    """Enhanced values, what the method itself expected, their difference and uncertainty.

    The uncertainty is that of what the method expected; by it the enhanced values fade as well.
    """
    result = view.result
    assert result is not None
    places, what = _target_places(result), describe(result)
    spread = bearing_of(view.slide, result).measured(counts)
    values = result.expression_source.columns(column)[:, 0]
    limits = view.contrast.limits(np.concatenate([values, spread]) if view.shared else values)
    magma = clear_low(ENHANCED_COLORMAP)
    smooth = values if result.denoised is None else result.denoised.columns(column)[:, 0]
    sd = None if result.uncertainty is None else result.uncertainty.columns(column)[:, 0]
    opacity = certainty(smooth, sd) if view.faded and sd is not None else None

    def frame(
        kind: Kind, words: str, shown: NDArray[np.float32], limits: Limits, colours: Colormap
    ) -> Frame:
        about, painted = {"result": result} if kind == "enhanced" else {}, places.painted(shown)
        if opacity is not None and kind in ("enhanced", "denoised"):
            # Colours without a colour bar: the name says what they mean.
            words = (
                f"{words}, faint where uncertain, {limits[0]:.3g} dark to {limits[1]:.3g} bright"
            )
            painted = places.faded(shown, limits, colours, opacity)
        name = f"{view.label} · {words}"
        return Frame(kind, name, places, shown, painted, limits, colours, about)

    held = TASKS[task_of(result)].result
    made = [frame("enhanced", f"{held} ({what})", values, limits, magma)]
    if result.denoised is not None:
        own = limits if view.shared else view.contrast.limits(smooth)
        made.append(frame("denoised", f"denoised ({what})", smooth, own, magma))
    difference = values - spread
    even = view.contrast.symmetric(difference)
    made.append(frame("difference", f"{held} − measured", difference, even, clear_middle()))
    if sd is not None:
        whose = "prediction" if result.denoised is None else "denoised prediction"
        words = f"uncertainty, sd of the {whose} ({what})"
        made.append(frame("uncertainty", words, sd, view.contrast.limits(sd), clear_low("inferno")))
    return made


def result_frame(result: Enhancement) -> Frame:
    """Return a picture of a result whose slide is not open: its most abundant gene."""
    seen = result.expression_source.columns(np.arange(min(len(result.genes), 64)))
    gene = int(np.argmax(seen.sum(axis=0)))
    values, places = seen[:, gene], _target_places(result)
    return Frame(
        "enhanced",
        f"{result.genes.label(gene)} · {TASKS[task_of(result)].result} ({describe(result)})",
        places,
        values,
        places.painted(values),
        Percentiles().limits(values),
        clear_low(ENHANCED_COLORMAP),
        {"result": result},
    )


def describe(result: Enhancement) -> str:
    """Name method and targets: ``Square, 9 per spot``."""
    return f"{_method_of(result)}, {_where(result.targets)}"


def task_of(result: Enhancement) -> Task:
    """Return what was asked for; files of other versions do not say."""
    task = result.provenance.get("task")
    return task if task in TASKS else "enhance"


def _method_of(result: Enhancement) -> str:
    method = str(result.provenance.get("method", ""))
    # A file may come from a method that is not installed here.
    if method in method_names():
        return get_method(method).title
    return method.replace("_", " ").capitalize() or "predicted"


def _where(targets: Targets) -> str:
    if targets.kind == "subspots":
        return f"{targets.per_location} per spot"
    if targets.kind == "grid":
        return f"{np.sqrt(np.median(targets.area_um2)):.3g} µm grid"
    return f"{len(targets):,} points"


def _unit(values: NDArray[np.float32]) -> Limits:
    finite = values[np.isfinite(values)]
    return 0.0, max(float(finite.max(initial=0.0)), 1e-6)


class Once:
    """Compute a thing once per owner and forget it with the owner."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def __call__(self, owner: Any) -> Any:
        """Return the owner's thing, made on the first call."""
        if owner not in self._kept:
            self._kept[owner] = self._make(owner)
        return self._kept[owner]


_slide_places = Once(places_of_slide)
_target_places = Once(lambda result: places_of_targets(result.targets))
_ids = Once(lambda result: frozenset(result.genes.ids.tolist()))
_bearings: WeakKeyDictionary[Enhancement, Bearing] = WeakKeyDictionary()


def bearing_of(slide: Slide, result: Enhancement) -> Bearing:
    """Return what stands under the targets of a result; found once."""
    if result not in _bearings:
        _bearings[result] = Bearing.of(slide, result)
    return _bearings[result]
