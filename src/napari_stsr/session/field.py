"""The continuous field of a fit, as pictures of a gene at any resolution, coarse to fine.

Pixels of every size lie on one grid from the same corner, so that a pixel of twice the size covers
four whole ones: coarse pictures are refined in place, and tiles are found again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.methods import Fitted
from napari_stsr.results import Expression
from napari_stsr.session.tiles import SIDE, Tile, TileKey, TileStore
from napari_stsr.slides import Region, Slide
from napari_stsr.training import Run
from napari_stsr.training.progress import Pace

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Bounds = tuple[float, float, float, float]

MOST_PIXELS = 2_000_000
_MOST_BYTES = 1_000_000_000
# Seconds a first picture, and a step between two looks at the cancel token, should take.
_FIRST_S, _BATCH_S = 0.15, 0.15
# Pictures a second on the way: showing them must not take longer than evaluating them.
_PER_SECOND = 3.0
_SAMPLE = 1_000
# Each next picture has pixels a quarter as wide: all but the last cost a fifteenth of it together.
_FINER = 2


@dataclass(frozen=True, eq=False)
class FieldPicture:
    """A picture of a field, predicted: never measured.

    Parameters
    ----------
    values : (h, w) float32 array
        Expected counts of a whole location centred in each pixel, NaN where there is none.
    origin_um : (2,) float array
        Centre (x, y) of pixel (0, 0).
    pixel_um : float
    step_um : float
        Distance of the places evaluated where it is largest: `pixel_um` once all are done.
    finished : bool
        No finer picture follows.
    """

    values: Floats32
    origin_um: Floats
    pixel_um: float
    step_um: float
    finished: bool

    def value_at(self, point: Floats) -> float:
        """Value at (x, y) in µm; NaN off the picture and where there is no support."""
        column, row = np.rint((point - self.origin_um) / self.pixel_um).astype(int)
        height, width = self.values.shape
        inside = 0 <= row < height and 0 <= column < width
        return float(self.values[row, column]) if inside else float("nan")


@dataclass(frozen=True)
class _Frame:
    """Pixels of one size: first and last (exclusive) column and row."""

    step: float
    left: int
    top: int
    right: int
    bottom: int

    def coarser(self, level: int) -> _Frame:
        """Pixels `2 ** level` times as wide that cover these."""
        low, high = (self.left >> level, self.top >> level), (self.right, self.bottom)
        right, bottom = (-(-end >> level) for end in high)
        return _Frame(self.step * 2**level, *low, right, bottom)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    def centres(self, corner: Floats) -> tuple[Floats, Floats]:
        """Centres in µm of the columns, and of the rows."""
        x = corner[0] + self.step * (np.arange(self.left, self.right) + 0.5)
        y = corner[1] + self.step * (np.arange(self.top, self.bottom) + 0.5)
        return x, y

    def tiles(self) -> list[TileKey]:
        """Tiles that cover it, from the middle outwards."""
        columns = np.arange(self.left // SIDE, (self.right - 1) // SIDE + 1)
        rows = np.arange(self.top // SIDE, (self.bottom - 1) // SIDE + 1)
        both = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        middle = np.array([self.left + self.right, self.top + self.bottom]) / (2 * SIDE)
        away = np.square(both + 0.5 - middle).sum(axis=1)
        order = np.argsort(away, kind="stable")
        return [TileKey(self.step, int(i), int(j)) for i, j in both[order]]

    def cut(self, key: TileKey) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where a tile lies in the picture, and which part of the tile that is."""
        low = (key.row * SIDE, key.column * SIDE)
        there, part = [], []
        ends = ((self.top, self.bottom), (self.left, self.right))
        for at, (first, last) in zip(low, ends, strict=True):
            begin, end = max(at, first), min(at + SIDE, last)
            there.append(slice(begin - first, end - first))
            part.append(slice(begin - at, end - at))
        return (there[0], there[1]), (part[0], part[1])


class Field:
    """Answers for any gene, window and resolution without training again.

    Pictures are for one thread at a time; another may ask for a profile meanwhile.

    Values are expected counts of a whole location centred at a place, so they do not depend on the
    resolution. Farther than one pitch from any location that was learned there are none.

    Parameters
    ----------
    fitted : Fitted
    slide : Slide
        The locations it learned from, and the genes it predicts; needs no counts.
    title : str
        Name of the method, for layers.
    most_bytes : int
        Memory for what was evaluated.
    device : str
        Where to evaluate it, as of a `Run`.
    """

    def __init__(
        self,
        fitted: Fitted,
        slide: Slide,
        title: str = "",
        most_bytes: int = _MOST_BYTES,
        device: str = "auto",
    ) -> None:
        self.fitted, self.genes, self.title = fitted, slide.genes, title
        self.device = device
        self.pitch_um = slide.lattice.pitch_um
        self.store = TileStore(most_bytes)
        self._locations = slide.coordinates
        self._low = self._locations.min(axis=0) - self.pitch_um
        self._high = self._locations.max(axis=0) + self.pitch_um
        # Places a second; a guess until some were evaluated.
        self._rate, self._timed = 15_000.0, False
        self._sample: Expression | None = None

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._locations)

    @property
    def bounds(self) -> Bounds:
        """Smallest x, smallest y, largest x, largest y in µm of where there is a field."""
        return (*self._low.tolist(), *self._high.tolist())

    def supported(self, places: Floats) -> NDArray[np.bool_]:
        """Which of the places (m, 2) lie within one pitch of a location that was learned."""
        away, _ = self._tree.query(places, distance_upper_bound=self.pitch_um * (1 + 1e-9))
        return np.asarray(np.isfinite(away))

    def finest(
        self, step_um: float, bounds: Bounds | None = None, region: Region | None = None
    ) -> float:
        """The step asked for, or the finest that window and region allow if that is larger.

        A picture holds 2 million pixels at most.
        """
        low, high = self._framed(bounds, region)
        return max(step_um, float(np.sqrt(np.prod(high - low) / MOST_PIXELS)))

    def prepare(self, run: Run | None = None) -> None:
        """Do once what the first picture would wait for."""
        _ = self._tree
        if self._sample is None:
            some = np.linspace(0, len(self._locations) - 1, _SAMPLE).astype(np.int64)
            self._sample = self._at(
                self._locations[np.unique(some)], run or Run(device=self.device)
            )

    def usual(self, gene: str, run: Run | None = None) -> Floats32:
        """Values of a gene at some of the learned locations, for a contrast that does not move."""
        column = np.array([self._column(gene)])
        self.prepare(run)
        assert self._sample is not None
        return np.asarray(self._sample.columns(column)[:, 0])

    def profile(self, genes: Sequence[str], place: Floats, run: Run | None = None) -> Floats32:
        """Values of some genes at one place, (len(genes),).

        Raises
        ------
        InputError
            When the place is too far from all that was learned, or a gene was not predicted.
        """
        columns = np.array([self._column(gene) for gene in genes], dtype=np.int64)
        one = np.asarray(place, dtype=np.float64).reshape(1, 2)
        if not self.supported(one)[0]:
            raise InputError(
                f"There is nothing measured within {self.pitch_um:.0f} µm of this place.",
                "Click on the tissue.",
            )
        return np.asarray(self.fitted.at(one, run or Run(device=self.device)).columns(columns)[0])

    def pictures(
        self,
        gene: str,
        step_um: float,
        bounds: Bounds | None = None,
        region: Region | None = None,
        run: Run | None = None,
    ) -> Iterator[FieldPicture]:
        """Evaluate a window, coarse to fine; what was evaluated before is not again.

        Parameters
        ----------
        gene : str
            Id or symbol.
        step_um : float
            Distance of the places of the last picture.
        bounds : (x, y, x, y) in µm, optional
            The window; all there is by default.
        region : Region, optional
            Only inside.
        run : Run, optional
            Its `cancel` is checked ten times a second or so.

        Raises
        ------
        InputError
            When the gene was not predicted, the window holds no field, or the step is too small.
        Cancelled
            When the run was cancelled.
        """
        run, column = run or Run(device=self.device), self._column(gene)
        if not (np.isfinite(step_um) and step_um > 0):
            raise InputError(f"A step of {step_um:g} µm cannot be.", "Give a positive length.")
        frame = self._frame(step_um, bounds, region)
        level, before = self._first_level(frame), None
        while True:
            coarse = frame.coarser(level)
            for picture in self._filled(column, coarse, level == 0, before, region, run):
                yield picture
                last = picture
            if level == 0:
                return
            before, level = (coarse, last), max(level - _FINER, 0)

    def _column(self, gene: str) -> int:
        try:
            return self.genes.column(gene)
        except InputError:
            raise InputError(
                f"The gene {gene} was not predicted by this run.", "Choose another, or run with it."
            ) from None

    def _clipped(self, bounds: Bounds | None) -> tuple[Floats, Floats]:
        if bounds is None:
            return self._low, self._high
        low, high = np.array(bounds[:2]), np.array(bounds[2:])
        low, high = np.maximum(low, self._low), np.minimum(high, self._high)
        if (low >= high).any():
            raise InputError("There is no tissue in this window.", "Move the view onto the tissue.")
        return low, high

    def _framed(self, bounds: Bounds | None, region: Region | None) -> tuple[Floats, Floats]:
        """Corners of what window and region have in common with the tissue."""
        low, high = self._clipped(bounds)
        if region is not None:
            inner, outer = np.array(region.bounds()[:2]), np.array(region.bounds()[2:])
            low, high = np.maximum(low, inner), np.minimum(high, outer)
            if (low >= high).any():
                raise InputError("The region holds no tissue.", "Draw it on the tissue.")
        return low, high

    def _frame(self, step: float, bounds: Bounds | None, region: Region | None) -> _Frame:
        low, high = self._framed(bounds, region)
        first = np.floor((low - self._low) / step + 1e-9).astype(int)
        last = np.maximum(np.ceil((high - self._low) / step - 1e-9).astype(int), first + 1)
        if np.prod((last - first).astype(float)) > 1.1 * MOST_PIXELS + 10_000:
            raise InputError(
                f"{step:g} µm would take {np.prod((last - first).astype(float)):,.0f} pixels.",
                "Choose a larger step, or zoom in.",
            )
        return _Frame(step, *map(int, first), *map(int, last))

    def _first_level(self, frame: _Frame) -> int:
        """The finest level whose missing tiles are soon evaluated."""
        few = max(self._rate * _FIRST_S, SIDE * SIDE)
        level = 0
        while True:
            coarse = frame.coarser(level)
            missing = sum(key not in self.store for key in coarse.tiles())
            if missing * SIDE * SIDE <= few or max(coarse.shape) <= 4:
                return level
            level += 1

    def _filled(
        self,
        column: int,
        frame: _Frame,
        finest: bool,
        before: tuple[_Frame, FieldPicture] | None,
        region: Region | None,
        run: Run,
    ) -> Iterator[FieldPicture]:
        """Fill one level's picture tile by tile, over the one before."""
        x, y = frame.centres(self._low)
        values = np.full(frame.shape, np.nan, dtype=np.float32)
        outside = None
        if region is not None:
            places = np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1).reshape(-1, 2)
            outside = ~region.contains(places).reshape(frame.shape)
        if before is not None:
            values = _widened(before[1].values, before[0], frame)
            if outside is not None:
                values[outside] = np.nan
        keys = [k for k in frame.tiles() if outside is None or not outside[frame.cut(k)[0]].all()]
        rough = frame.step if before is None else before[1].step_um
        origin = np.array([x[0], y[0]])
        pace = Pace(_PER_SECOND)
        pace.due()
        for ready in self._evaluated(keys, run):
            for key, tile in ready:
                there, part = frame.cut(key)
                values[there] = tile.values(column)[part]
                if outside is not None:
                    values[there][outside[there]] = np.nan
                # Some expressions find only now what they keep.
                if key in self.store:
                    self.store.keep(key, tile)
            if before is not None and pace.due():
                yield FieldPicture(values.copy(), origin, frame.step, rough, False)
        yield FieldPicture(values, origin, frame.step, frame.step, finest)

    def _evaluated(self, keys: list[TileKey], run: Run) -> Iterator[list[tuple[TileKey, Tile]]]:
        """Tiles that are kept, at once, then the others as they are evaluated."""
        known = [(key, tile) for key in keys if (tile := self.store.get(key)) is not None]
        held = {key for key, _ in known}
        missing = [key for key in keys if key not in held]
        if known:
            run.cancel.check()
            yield known
        del known
        while missing:
            run.cancel.check()
            many = max(1, int(self._rate * _BATCH_S) // (SIDE * SIDE))
            yield self._batch(missing[:many], run)
            missing = missing[many:]

    def _batch(self, keys: list[TileKey], run: Run) -> list[tuple[TileKey, Tile]]:
        """Evaluate some tiles together and keep each."""
        step = keys[0].step_um
        row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
        inner = np.column_stack([column, row]) + 0.5
        corners = SIDE * np.array([(key.column, key.row) for key in keys])
        places = self._low + step * (corners[:, None] + inner)
        there = self.supported(places.reshape(-1, 2)).reshape(len(keys), -1)
        made = []
        whole = self._at(places[there], run) if there.any() else None
        ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        for number, key in enumerate(keys):
            part, pixels = np.arange(ends[number], ends[number + 1]), np.flatnonzero(there[number])
            some = None if whole is None or not len(part) else whole.take(part)
            made.append((key, Tile(pixels, some)))
            self.store.keep(*made[-1])
        return made

    def _at(self, places: Floats, run: Run) -> Expression:
        begun = time.perf_counter()
        answer = self.fitted.at(places, run)
        rate = len(places) / max(time.perf_counter() - begun, 1e-6)
        # The pace of few places says more about the start than about the places.
        if len(places) >= SIDE * SIDE // 2:
            paced = 0.5 * (self._rate + rate) if self._timed else rate
            self._rate, self._timed = float(np.clip(paced, 1_000, 200_000)), True
        return answer


def _widened(values: Floats32, coarse: _Frame, fine: _Frame) -> Floats32:
    """Show a coarse picture in the pixels of a finer frame it covers."""
    level = int(np.rint(np.log2(coarse.step / fine.step)))
    rows = (np.arange(fine.top, fine.bottom) >> level) - coarse.top
    columns = (np.arange(fine.left, fine.right) >> level) - coarse.left
    return np.asarray(values[rows[:, None], columns])
