"""A fitted SUICA: fields and a decoder, answering at any place."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stsr.methods.baselines.depth import smooth_depth
from napari_stsr.methods.baselines.factor_kernel import FactorKernel, FactorKernelFitted
from napari_stsr.methods.baselines.field import FieldFitted
from napari_stsr.methods.baselines.saved import Measured
from napari_stsr.methods.baselines.smoothing import Smoother
from napari_stsr.methods.companion import Companion
from napari_stsr.methods.peers.linear import LinearExpression
from napari_stsr.methods.suica.autoencoder import Decoder
from napari_stsr.methods.suica.doubt import Doubt, DoubtExpression, fading
from napari_stsr.methods.suica.ensemble import Ensemble, ensemble_of
from napari_stsr.methods.suica.lesson import PUBLISHED_TOTAL, Lesson
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.results.expression import DecodedExpression, Expression, ScaledExpression
from napari_stsr.slides import Slide
from napari_stsr.training.device import limited_threads
from napari_stsr.training.progress import Run

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
_CHUNK = 16_384
# Members' hidden states are kept for the doubt up to this many values.
_MOST_STATES = 100_000_000


class SuicaFitted(FieldFitted):
    """What SUICA learned: a continuous field of embeddings, and the decoder to genes."""

    params: SuicaParams

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, Expression | None]:
        """Decode the fields' embeddings at each place; depth is a field of its own."""
        with limited_threads(run.threads):
            if self.published:
                return self._published(coordinates, run), None
            said = self._said(coordinates, run)
            own = self._decoded(said)
            expected: Expression = own
            companion = self.companion
            if companion is not None:
                other, _ = companion.kernel.field(coordinates, run)
                expected = companion.mixed(own, other)
            return expected, self._doubt(said, expected, coordinates)

    @property
    def published(self) -> bool:
        """Whether values scaled to a total were learned, not counts."""
        return self.params.objective == "published"

    @cached_property
    def companion(self) -> Companion | None:
        """The factor kernel it is mixed with."""
        held = {
            name.removeprefix("kernel/"): array
            for name, array in self.learned.items()
            if name.startswith("kernel/")
        }
        if not held:
            return None
        method = FactorKernel()
        shares = [float(held.pop(name)) for name in ("share", "depth_share")]
        basis = held.pop("basis")
        params = method.parameters("auto")
        kernel = FactorKernelFitted(method, self.measured, cast(Any, params), self.seed, held)
        return Companion(kernel, basis, *shares)

    @cached_property
    def _modules(self) -> tuple[Ensemble, Decoder]:
        learned, params = self.learned, self.params
        outputs = int(learned["outputs"])
        with torch.random.fork_rng(devices=[]):
            ensemble = ensemble_of(
                self.measured.coordinates,
                self.measured.spacing_um,
                params,
                str(learned["backbone"]),
                outputs,
            )
            widths = tuple(int(width) for width in learned["widths"])
            decoder = Decoder(outputs - (not self.published), widths, 1)
        ensemble.load_state_dict(_state(learned, "field/"))
        decoder.layers.load_state_dict(_state(learned, "decoder/"))
        return ensemble.eval(), decoder.eval()

    def _said(self, places: Floats, run: Run) -> Tensor:
        """What every member says of places in µm, (members, m, outputs)."""
        ensemble, _ = self._modules
        pieces = []
        for start in range(0, len(places), _CHUNK):
            run.cancel.check()
            some = torch.from_numpy(places[start : start + _CHUNK].astype(np.float32))
            with torch.no_grad():
                pieces.append(ensemble(ensemble.encode(some)))
        return torch.cat(pieces, dim=1)

    def _hidden(self, z: Tensor) -> Floats32:
        with torch.no_grad():
            return cast(Floats32, self._modules[1].hidden(z).numpy())

    def _log_norm(self, hidden: Floats32) -> Floats32:
        """Log of the softmax denominators over the genes trained on."""
        weight = torch.from_numpy(self.learned["trained_weight"])
        bias = torch.from_numpy(self.learned["trained_bias"])
        out = np.empty(len(hidden), dtype=np.float32)
        for start in range(0, len(hidden), _CHUNK // 4):
            part = slice(start, start + _CHUNK // 4)
            logits = torch.nn.functional.linear(torch.from_numpy(hidden[part]), weight, bias)
            out[part] = torch.logsumexp(logits, dim=1).numpy()
        return out

    def states(self, places: Floats, run: Run | None = None) -> tuple[Floats32, Floats32]:
        """Hidden states (m, h) and log softmax denominators (m,) at places in µm."""
        hidden = self._hidden(self._said(places, run or Run())[..., :-1].mean(dim=0))
        return hidden, self._log_norm(hidden)

    def left_out(self, places: Floats, fold: Ints) -> DecodedExpression:
        """Expected counts at locations, each told by the member that has not seen it.

        Parameters
        ----------
        places : (r, 2) float array
        fold : (r,) int array
            That member; locations at -1 are left out of the answer.
        """
        rows = np.flatnonzero(fold >= 0)
        said = self._said(places[rows], Run())[fold[rows], np.arange(len(rows))]
        return self._decoded(said[None])

    def _decoded(self, said: Tensor) -> DecodedExpression:
        """Expected counts from the members' mean."""
        mean = said.mean(dim=0)
        hidden = self._hidden(mean[:, :-1])
        depth = np.exp(mean[:, -1].numpy()) * np.float32(self.learned["mean_total"])
        return DecodedExpression(
            hidden, self.learned["weight"], self.learned["bias"], self._log_norm(hidden), depth
        )

    def _published(self, places: Floats, run: Run) -> Expression:
        """Scaled values, times a smooth depth over the scale."""
        hidden = self._hidden(self._said(places, run)[0])
        values = LinearExpression(hidden, self.learned["weight"].T, self.learned["bias"])
        measured = self.measured
        smoother = Smoother(measured.coordinates, places, measured.spacing_um)
        bandwidth = float(self.learned["depth_bandwidth"])
        depth = smooth_depth(smoother, self.learned["kept_totals"], bandwidth)
        return ScaledExpression(values, depth / PUBLISHED_TOTAL)

    def doubt_of(self, said: Tensor, expected: Expression) -> Doubt:
        """What the members themselves know of their error."""
        members, places = said.shape[:2]
        many = members * places * self.learned["weight"].shape[1] > _MOST_STATES
        if members < 2 or many:
            return Doubt(expected, None, self.learned["weight"])
        hidden = np.stack([self._hidden(z) for z in said[..., :-1].unbind()])
        return Doubt(expected, hidden, self.learned["weight"])

    def blind_doubt(self, places: Floats, rows: Ints, fold: Ints, run: Run) -> Doubt:
        """Doubt at measured locations `rows`, each told by the member that has not seen it."""
        said = self._said(places, run)
        own = self._decoded(said[fold, np.arange(len(fold))][None])
        expected: Expression = own
        if self.companion is not None:
            expected = self.companion.mixed(own, self.companion.kernel.left_out(rows, run))
        return self.doubt_of(said, expected)

    def _doubt(self, said: Tensor, expected: Expression, places: Floats) -> Expression | None:
        if "doubt/relative" not in self.learned:
            return None
        companion, measured = self.companion, self.measured
        reach = 2 * measured.spacing_um
        if companion is not None:
            reach = max(reach, float(companion.kernel.learned["bandwidth"]))
        known = measured.coordinates[measured.totals > 0]
        return DoubtExpression(
            self.doubt_of(said, expected),
            self.learned["doubt/relative"],
            self.learned["doubt/unknown"],
            float(self.learned["doubt/factor"]),
            fading(known, places, measured.spacing_um, reach),
        )


def _state(learned: Any, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in learned.items()
        if name.startswith(prefix)
    }


def companion_arrays(companion: Companion) -> Arrays:
    """Return the arrays `SuicaFitted.companion` is made of again."""
    shares = {"share": np.array(companion.share), "depth_share": np.array(companion.depth_share)}
    held = {**companion.kernel.learned, **shares, "basis": companion.basis}
    return {f"kernel/{name}": np.asarray(array) for name, array in held.items()}


def arrays_of(
    ensemble: Ensemble,
    decoder: Decoder,
    lesson: Lesson,
    slide: Slide,
    measured: Measured,
    backbone: str,
    published: bool,
) -> Arrays:
    """Return what networks learned as arrays; genes they were not trained on are empty yet."""
    arrays: Arrays = {
        f"field/{name}": value.detach().cpu().numpy()
        for name, value in ensemble.state_dict().items()
    }
    for name, value in decoder.layers.state_dict().items():
        arrays[f"decoder/{name}"] = value.detach().cpu().numpy()
    full = decoder.output.weight.detach().cpu().numpy()
    full_bias = decoder.output.bias.detach().cpu().numpy()
    wanted = measured.gene_columns
    known = np.isin(wanted, lesson.genes)
    at = np.searchsorted(lesson.genes, wanted[known])
    weight = np.zeros((len(wanted), full.shape[1]), dtype=np.float32)
    weight[known] = full[at]
    widths = [layer.out_features for layer in decoder.layers if hasattr(layer, "out_features")]
    arrays |= {
        "backbone": np.array(backbone),
        "widths": np.array(widths, dtype=np.int64),
        "outputs": np.array(cast(Any, ensemble.members[0]).outputs),
        "weight": weight,
    }
    if published:
        kept = np.asarray(slide.counts.genes(lesson.genes).sum(axis=1), dtype=np.float64).ravel()
        # Of genes the filters dropped only the mean share is known.
        share = slide.counts.gene_totals[wanted] / max(float(kept.sum()), 1.0)
        bias = (PUBLISHED_TOTAL * share).astype(np.float32)
        bias[known] = full_bias[at]
        return arrays | {"bias": bias, "kept_totals": kept}
    bias = np.full(len(wanted), -30.0, dtype=np.float32)
    bias[known] = full_bias[at]
    return arrays | {
        "bias": bias,
        "trained_weight": full,
        "trained_bias": full_bias,
        "mean_total": np.array(lesson.totals.mean()),
    }
