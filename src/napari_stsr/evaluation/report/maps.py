"""Maps of the report: measured, predicted and error of the genes that tell most."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.evaluation.evaluated import Evaluation
from napari_stsr.evaluation.joined import JoinedMap
from napari_stsr.evaluation.mapping import telling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_MOST_POLYGONS = 20_000
_PIXELS = 400


@dataclass(frozen=True)
class GeneMap:
    """Picture of one gene: measured, predicted and error, side by side."""

    gene: str
    symbol: str
    r: float
    place: str
    png: str


def gene_maps(evaluation: Evaluation, task: str) -> list[GeneMap]:
    """Maps of the genes predicted best, middling and worst by the method the report is about."""
    me = evaluation.subject(task) or evaluation.best_baseline(task)
    if me is None or not (parts := evaluation.maps(task, me.key)):
        return []
    table = evaluation.genes(task)
    # Genes of all folds, where there are any: their maps have no gaps.
    held = set(parts[0].genes).intersection(*(one.genes for one in parts)) or set(parts[0].genes)
    known = table[me.key][[gene in held for gene in table.index]]
    named = [gene for gene in held if _named(evaluation, table, gene)]
    chosen = telling(known)
    found = []
    ranks = table[me.key].rank(ascending=False, method="first")
    for gene in dict.fromkeys([*chosen, *named]):
        undefined = np.isnan(ranks[gene])
        place = (
            "undefined" if undefined else f"{_ordinal(int(ranks[gene]))} of {ranks.count()} genes"
        )
        symbol = str(table.loc[gene, "symbol"])
        joined = JoinedMap.of(parts, gene)
        if joined is not None:
            found.append(GeneMap(gene, symbol, float(known[gene]), place, _picture(joined)))
    return found


def _named(evaluation: Evaluation, table: Any, gene: str) -> bool:
    """Whether the user asked for this gene, by id or symbol."""
    asked = {name.casefold() for name in evaluation.plan.genes}
    if gene not in table.index or len(asked) > 12:
        return False
    return gene.casefold() in asked or str(table.loc[gene, "symbol"]).casefold() in asked


def _picture(held: JoinedMap) -> str:
    """Draw the three maps of a gene; base64 of a PNG."""
    from matplotlib.figure import Figure

    places = held.coordinates
    low, span = places.min(axis=0), np.maximum(np.ptp(places, axis=0), 1e-9)
    pad = 0.03 * span.max() + np.abs(held.cell).max()
    # Below the map there is room for the scale bar; y grows downwards, as in the histology.
    frame = (
        (low[0] - pad, low[0] + span[0] + pad),
        (low[1] + span[1] + pad + 0.1 * span.max(), low[1] - pad),
    )
    # Fixed places are drawn faster than fitted ones.
    wide, tall = 2.55, 2.55 * float(np.clip((frame[1][0] - frame[1][1]) / np.ptp(frame[0]), 0.4, 2))
    size = (9.3, tall + 0.35)
    made = Figure(figsize=size, dpi=110)
    limits, even = held.limits(), held.error_limits()
    drawn = (
        ("measured", held.truth, "viridis", limits),
        ("predicted", held.predicted, "viridis", limits),
        ("predicted − measured", held.error, "PuOr_r", even),
    )
    for number, (words, values, colours, ends) in enumerate(drawn):
        left, height = (0.05 + 3.1 * number) / size[0], tall / size[1]
        ax = made.add_axes((left, 0.05 / size[1], wide / size[0], height))
        shown = _draw(ax, places, held.cell, values.astype(np.float64), colours, ends)
        ax.set_xlim(frame[0])
        ax.set_ylim(frame[1])
        ax.set_title(words, fontsize=10, pad=4)
        beside = left + (wide + 0.06) / size[0]
        place = (beside, (0.05 + 0.1 * tall) / size[1], 0.1 / size[0], 0.8 * height)
        bar = made.colorbar(shown, cax=made.add_axes(place), format="%.2g")
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
        if number == 0:
            _scale_bar(ax, places, frame[1][0] - 0.06 * span.max())
    file = io.BytesIO()
    made.savefig(file, format="png", facecolor="white", metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()


def _draw(
    ax: Axes,
    places: Floats,
    cell: Floats,
    values: Floats,
    colours: str,
    limits: tuple[float, float],
) -> Any:
    """Draw values as cells that touch, or as a raster where there are very many."""
    from matplotlib.collections import PolyCollection

    ax.set_aspect("equal")
    ax.axis("off")
    if len(places) <= _MOST_POLYGONS:
        polygons: Any = places[:, None, :] + _touching(cell, places)[None]
        shown: Any = PolyCollection(polygons, cmap=colours, edgecolors="face", linewidths=0.2)
        shown.set_array(values)
        shown.set_clim(*limits)
        ax.add_collection(shown)
    else:
        # A pixel is no smaller than the distance of neighbours, or empty ones would make stripes.
        step = max(_gap(places), np.ptp(places, axis=0).max() / _PIXELS)
        at = np.rint((places - places.min(axis=0)) / step).astype(np.int64)
        shape = at.max(axis=0)[::-1] + 1
        pixel = at[:, 1] * shape[1] + at[:, 0]
        many = np.bincount(pixel, minlength=shape.prod()).astype(np.float64)
        sums = np.bincount(pixel, values, minlength=shape.prod())
        raster = np.divide(sums, many, out=np.full(len(many), np.nan), where=many > 0)
        start = places.min(axis=0) - step / 2
        ends = start, start + step * shape[::-1]
        shown = ax.imshow(
            raster.reshape(shape), cmap=colours, vmin=limits[0], vmax=limits[1], origin="lower",
            extent=(ends[0][0], ends[1][0], ends[0][1], ends[1][1]), interpolation="nearest",
        )  # fmt: skip
    return shown


def _touching(cell: Floats, places: Floats) -> Floats:
    """Widen the drawn cell so that the closest touch: small discs far apart are hard to see."""
    return cell * max(1.0, 0.98 * _gap(places, 0.05) / float(np.ptp(cell[:, 0])))


def _gap(places: Floats, share: float = 0.5) -> float:
    """Distance of neighbours in µm, which is less for that share of the places."""
    if len(places) < 2:
        return 1.0
    return float(np.quantile(cKDTree(places).query(places, k=2)[0][:, 1], share))


def _scale_bar(ax: Axes, places: Floats, y: float) -> None:
    """Draw a bar of a round length at y, below a map."""
    wide = float(np.ptp(places[:, 0]))
    power = 10.0 ** np.floor(np.log10(wide / 4))
    length = power * max(one for one in (1, 2, 5) if one * power <= wide / 4 + 1e-9)
    left = places[:, 0].min()
    ax.plot([left, left + length], [y, y], color="black", linewidth=2.5, solid_capstyle="butt")
    words = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    ax.text(left + 1.08 * length, y, words, va="center", fontsize=8)


def _ordinal(number: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if 10 <= number % 100 <= 20 else ends.get(number % 10, "th")
    return f"{number}{ending}"
