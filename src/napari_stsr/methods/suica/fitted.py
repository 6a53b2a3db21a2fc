"""A fitted SUICA: fields and decoders, answering at any place."""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_stsr.methods.baselines.depth import smooth_depth
from napari_stsr.methods.baselines.smoothing import Smoother
from napari_stsr.methods.companion import Companion
from napari_stsr.methods.conformal import faded
from napari_stsr.methods.doubt import Doubt
from napari_stsr.methods.field import FieldFitted
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.suica.autoencoder import Decoder
from napari_stsr.methods.suica.doubt import DoubtExpression
from napari_stsr.methods.suica.ensemble import (
    BlindExpression,
    Ensemble,
    EnsembleExpression,
    ensemble_of,
)
from napari_stsr.methods.suica.lesson import PUBLISHED_TOTAL, Lesson
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.results.expression import (
    DecodedExpression,
    Expression,
    LinearExpression,
    ScaledExpression,
)
from napari_stsr.results.posterior import Trust
from napari_stsr.slides import Slide
from napari_stsr.training.device import limited_threads, placed, resolve_device
from napari_stsr.training.loop import seeded
from napari_stsr.training.progress import Progress, Run, outcome, reported

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
_CHUNK = 16_384


class SuicaFitted(FieldFitted):
    """What SUICA learned: continuous fields of embeddings, and decoders to genes."""

    params: SuicaParams

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, Expression | None]:
        """Decode the fields' embeddings at each place, times a smooth depth."""
        return outcome(self.telling(coordinates, run))

    def telling(
        self, coordinates: Floats, run: Run
    ) -> Generator[Progress, None, tuple[Expression, Expression | None]]:
        """`field`, reporting how far the places are decoded."""
        smoother = Smoother.of(self.measured, coordinates)
        with limited_threads(run.threads):
            depth = self._depth(smoother)
            steps, whole = len(coordinates) * self._passes, (0.0, 1.0)
            if self.published:
                scaling = self._scaled(coordinates, depth, run)
                return (yield from reported(scaling, "predicting", steps, whole, run)), None
            decoding = self._decoded(coordinates, depth, run)
            own = yield from reported(decoding, "predicting", steps, whole, run)
        expected: Expression = own
        if self.companion is not None:
            other, _ = self.companion.kernel.field(coordinates, run)
            expected = self.companion.mixed(own, other)
        return expected, self._doubt(Doubt(expected, own), coordinates)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not learned: genes the published form dropped, and what one member cannot."""
        if not self.published:
            return self._notes_of_one()
        lost = np.flatnonzero(~self.learned["weight"].any(axis=(0, 2)))
        if not len(lost):
            return ()
        names = ", ".join(self.measured.genes.label(int(gene)) for gene in lost[:5])
        return (
            f"{len(lost):,} genes ({names}{', …' if len(lost) > 5 else ''}) are left out by the "
            "published form: their maps are the depth times their mean share.",
        )

    def _notes_of_one(self) -> tuple[str, ...]:
        if self.params.members > 1:
            return ()
        mixed = " and the kernels are given half of the answer unjudged" if self.companion else ""
        return (f"An ensemble of one holds nothing out: there is no uncertainty{mixed}.",)

    @property
    def trust(self) -> Trust | None:
        """How far a location's own counts can be trusted, once that was learned."""
        if "own/genes" not in self.learned:
            return None
        return Trust(float(self.learned["own/depth"]), self.learned["own/genes"])

    @property
    def depths(self) -> Floats:
        """Counts of every location in the genes trained on, (n,)."""
        return np.asarray(self.learned["depths"])

    @property
    def published(self) -> bool:
        """Whether values scaled to a total were learned, not counts."""
        return self.params.published

    @cached_property
    def companion(self) -> Companion | None:
        """The kernel it is mixed with."""
        held = _under(self.learned, "kernel/")
        return Companion.again(held, self.measured, self.seed) if held else None

    @cached_property
    def _modules(self) -> tuple[Ensemble, list[Decoder]]:
        learned = self.learned
        outputs, backbone = int(learned["outputs"]), str(learned["backbone"])
        widths = tuple(int(width) for width in learned["widths"])
        measured = self.measured
        with seeded(self.seed, "loading"):
            ensemble = ensemble_of(
                measured.coordinates, measured.spacing_um, self.params, backbone, outputs
            )
            decoders = [Decoder(outputs, widths, 1) for _ in range(len(ensemble))]
        ensemble.load_state_dict(_state(learned, "field/"))
        for member, decoder in enumerate(decoders):
            decoder.layers.load_state_dict(_state(learned, f"decoder/{member}/"))
        return ensemble.eval(), decoders

    @property
    def _passes(self) -> int:
        """How often every place is looked at to decode it."""
        return 1 if self.published else 2 * len(self._modules[1])

    def _hidden(
        self, places: Floats, member: int, run: Run, done: int = 0
    ) -> Generator[float, None, Floats32]:
        """Hidden states (m, h) of a member at places in µm; yields the places done so far."""
        ensemble, decoders = self._modules
        field = placed(ensemble.members[member], run.device)
        decoder = placed(decoders[member], run.device)
        device = decoder.output.weight.device
        out = np.empty((len(places), self.learned["weight"].shape[2]), dtype=np.float32)
        for start in range(0, len(places), _CHUNK):
            part = slice(start, start + _CHUNK)
            some = torch.from_numpy(places[part].astype(np.float32)).to(device)
            with torch.no_grad():
                hidden = decoder.hidden(field(*cast(Any, field).encode(some)))
            out[part] = hidden.cpu().numpy()
            yield done + min(part.stop, len(places))
        return out

    def _log_norm(
        self, hidden: Floats32, member: int, run: Run, done: int = 0
    ) -> Generator[float, None, Floats32]:
        """Log of the softmax denominators over the genes trained on; yields as `_hidden`."""
        device = torch.device(resolve_device(run.device))
        weight = torch.from_numpy(self.learned["trained_weight"][member]).to(device)
        bias = torch.from_numpy(self.learned["trained_bias"][member]).to(device)
        out = np.empty(len(hidden), dtype=np.float32)
        for start in range(0, len(hidden), _CHUNK // 4):
            part = slice(start, start + _CHUNK // 4)
            some = torch.from_numpy(hidden[part]).to(device)
            logits = nn.functional.linear(some, weight, bias)
            out[part] = torch.logsumexp(logits, dim=1).cpu().numpy()
            yield done + min(part.stop, len(hidden))
        return out

    def states(
        self, places: Floats, run: Run
    ) -> Generator[float, None, list[tuple[Floats32, Floats32]]]:
        """Hidden states (m, h) and log softmax denominators (m,) of every member.

        Yields how many places were looked at, of all passes together.
        """
        found = []
        for member in range(len(self._modules[1])):
            hidden = yield from self._hidden(places, member, run, 2 * member * len(places))
            before = (2 * member + 1) * len(places)
            found.append((hidden, (yield from self._log_norm(hidden, member, run, before))))
        return found

    def left_out(self, rows: Ints, fold: Ints, run: Run) -> BlindExpression:
        """Expected counts at measured locations, each told by the member blind to it.

        Parameters
        ----------
        rows, fold : (r,) int arrays
            Locations of the slide, and that member of each.
        run : Run
        """
        every = self._left_out(rows, run)
        return BlindExpression(every.members, fold, every.depth)

    def _left_out(self, rows: Ints, run: Run) -> EnsembleExpression:
        """What all members say of measured locations, at the depth all others tell."""
        places, smoother = self.measured.coordinates[rows], Smoother.left_out(self.measured, rows)
        work = self._decoded(places, self._depth(smoother), run)
        return outcome(reported(work, "predicting", len(places) * self._passes, (0.0, 1.0), run))

    def _decoded(
        self, places: Floats, depth: Floats32, run: Run
    ) -> Generator[float, None, EnsembleExpression]:
        """What all members say; yields as `states`."""
        weight, bias = self.learned["weight"], self.learned["bias"]
        ones = np.ones(len(places), dtype=np.float32)
        states = yield from self.states(places, run)
        members = tuple(
            DecodedExpression(hidden, weight[member], bias[member], norm, ones)
            for member, (hidden, norm) in enumerate(states)
        )
        return EnsembleExpression(members, depth)

    def _scaled(
        self, places: Floats, depth: Floats32, run: Run
    ) -> Generator[float, None, ScaledExpression]:
        """Scaled values of the published form, times depth over the scale; yields as `_hidden`."""
        hidden = yield from self._hidden(places, 0, run)
        values = LinearExpression(hidden, self.learned["weight"][0].T, self.learned["bias"][0])
        return ScaledExpression(values, depth / PUBLISHED_TOTAL)

    def _depth(self, smoother: Smoother) -> Floats32:
        bandwidth = float(self.learned["depth_bandwidth"])
        return smooth_depth(smoother, self.learned["depths"], bandwidth)

    def blind_doubt(self, rows: Ints, fold: Ints, run: Run) -> Doubt:
        """Doubt at measured locations, each told by the member blind to it; see `left_out`.

        All members together tell how far members differ.
        """
        every = self._left_out(rows, run)
        own = BlindExpression(every.members, fold, every.depth)
        expected: Expression = own
        if self.companion is not None:
            expected = self.companion.mixed(own, self.companion.kernel.left_out(rows, run))
        return Doubt(expected, every)

    def _doubt(self, doubt: Doubt, places: Floats) -> Expression | None:
        if "doubt/relative" not in self.learned:
            return None
        companion, measured = self.companion, self.measured
        reach = 2 * measured.spacing_um
        if companion is not None:
            reach = max(reach, companion.kernel.reach_um)
        known = measured.coordinates[measured.totals > 0]
        return DoubtExpression(
            doubt,
            self.learned["doubt/relative"],
            self.learned["doubt/unknown"],
            float(self.learned["doubt/factor"]),
            faded(known, places, measured.spacing_um, reach),
        )


def _under(learned: Any, prefix: str) -> Arrays:
    return {n.removeprefix(prefix): array for n, array in learned.items() if n.startswith(prefix)}


def _state(learned: Any, prefix: str) -> dict[str, Tensor]:
    held = _under(learned, prefix)
    return {name: torch.from_numpy(np.array(array)) for name, array in held.items()}


def arrays_of(
    ensemble: Ensemble,
    decoders: list[Decoder],
    lesson: Lesson,
    slide: Slide,
    measured: Measured,
    backbone: str,
    published: bool,
) -> Arrays:
    """Return what networks learned as arrays; genes they were not trained on are empty yet."""
    arrays: Arrays = {f"field/{n}": _plain(value) for n, value in ensemble.state_dict().items()}
    for member, decoder in enumerate(decoders):
        for name, value in decoder.layers.state_dict().items():
            arrays[f"decoder/{member}/{name}"] = _plain(value)
    full = np.stack([_plain(decoder.output.weight) for decoder in decoders])
    full_bias = np.stack([_plain(decoder.output.bias) for decoder in decoders])
    wanted = measured.gene_columns
    known = np.isin(wanted, lesson.genes)
    at = np.searchsorted(lesson.genes, wanted[known])
    weight = np.zeros((len(decoders), len(wanted), full.shape[2]), dtype=np.float32)
    bias = np.full((len(decoders), len(wanted)), -30.0, dtype=np.float32)
    if published:
        # Of genes the filters dropped only the mean share is known.
        share = slide.counts.gene_totals[wanted] / max(float(lesson.depths.sum()), 1.0)
        bias[:] = PUBLISHED_TOTAL * share
    weight[:, known], bias[:, known] = full[:, at], full_bias[:, at]
    layers = [layer for layer in decoders[0].layers if isinstance(layer, nn.Linear)]
    arrays |= {
        "backbone": np.array(backbone),
        "widths": np.array([layer.out_features for layer in layers], dtype=np.int64),
        "outputs": np.array(cast(Any, ensemble.members[0]).outputs),
        "weight": weight,
        "bias": bias,
        "depths": lesson.depths,
    }
    if not published:
        arrays |= {"trained_weight": full, "trained_bias": full_bias}
    return arrays


def _plain(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()
