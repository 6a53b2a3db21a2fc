"""Fitting SUICA: autoencoder, field, expression, then all that was not trained on."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from napari_stsr.errors import InputError
from napari_stsr.methods.baselines.bandwidth import LeftOut
from napari_stsr.methods.baselines.depth import depth_bandwidth
from napari_stsr.methods.companion import fit_companion
from napari_stsr.methods.field import FieldMethod
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.poisson_regression import chosen_ridge, poisson_weights
from napari_stsr.methods.suica.autoencoder import Decoder, GraphAutoencoder
from napari_stsr.methods.suica.doubt import learn_doubt
from napari_stsr.methods.suica.ensemble import Ensemble, ensemble_of
from napari_stsr.methods.suica.fitted import SuicaFitted, arrays_of
from napari_stsr.methods.suica.graph import Summed, nearest_graph
from napari_stsr.methods.suica.lesson import Lesson
from napari_stsr.methods.suica.params import MOST_DECODED, PASSES, VALIDATE_EVERY, SuicaParams
from napari_stsr.methods.suica.stages import (
    AutoencoderTraining,
    CountTraining,
    EmbeddingTraining,
    PublishedTraining,
)
from napari_stsr.slides import Counts, Slide
from napari_stsr.training.checkpoint import Checkpoints, identity
from napari_stsr.training.device import limited_threads
from napari_stsr.training.loop import Stage, Trainer, batches, seeded
from napari_stsr.training.progress import Progress, Run, reported, spanned

Arrays = dict[str, NDArray[Any]]
Ints = NDArray[np.int64]
# Locations that decide the companion's share.
_MOST_VOTING = 5000
_FAINT = 0.1
# Of Adam, as published.
_MOMENTA = 0.9, 0.999
_LOWER = "batch size, members or variable genes"
# Whose field and decoder take all locations in a step, and which has one member.
_LOWER_PUBLISHED = "field width, hidden units or variable genes"
# Shares of the whole fit that training takes; the companion and uncertainty come after it.
_TRAINED = 0.9


class Fitting:
    """One fit of SUICA.

    Parameters
    ----------
    method : FieldMethod
    slide : Slide
    measured : Measured
    params : SuicaParams
    run : Run
    """

    def __init__(
        self,
        method: FieldMethod,
        slide: Slide,
        measured: Measured,
        params: SuicaParams,
        run: Run,
    ) -> None:
        self.method, self.slide, self.measured = method, slide, measured
        self.params, self.run = params, run
        self.published = params.published
        self.lesson = Lesson.of(slide, measured, params, run.seed)
        if self.published:
            self._refuse_left_out()
        passes = self._batches() * PASSES
        self.steps = params.autoencoder_steps or passes
        with_codec = not params.alone
        weights = {
            "autoencoder": 1.0 * self.steps * with_codec / params.stride,
            "field": 0.3 * params.field_steps * params.members * with_codec,
            "decoder": 1.0 * params.decoder_steps * params.members / (params.stride**with_codec),
        }
        self.weights = weights
        total = sum(weights.values()) / _TRAINED
        self.depth_bandwidth = self._depth_bandwidth()
        self.trainer = Trainer(run, Checkpoints(run.checkpoints, self._identity()), total)

    def run_through(self) -> Generator[Progress, None, Arrays]:
        """Train all stages and collect what they learned."""
        params, lesson = self.params, self.lesson
        with limited_threads(self.run.threads):
            ensemble = self._ensemble()
            if params.alone:
                decoders = self._plain_decoders()
            else:
                decoders, z = yield from self._autoencoders()
                yield from self._embedding(ensemble, z)
            self.trainer.snapshot = lambda: self._preview(ensemble, decoders)
            yield from self._expression(ensemble, decoders)
            learned = self._learned(ensemble, decoders)
            yield from self._further(learned)
            if not self.published:
                if params.mix != "off":
                    yield from self._companion(learned)
                learned.update((yield from learn_doubt(self._fitted(learned), lesson, self.run)))
        return learned

    def _depth_bandwidth(self) -> float:
        """Bandwidth in µm at which left-out depths are told best."""
        measured, run = self.measured, self.run
        told = LeftOut.of(measured.coordinates, measured.totals > 0, measured.spacing_um, run.seed)
        return depth_bandwidth(told, self.lesson.depths, run.cancel.check)

    def _refuse_left_out(self) -> None:
        """Refuse genes that were named and that the published form does not learn."""
        wanted, genes = self.measured.gene_columns, self.slide.genes
        lost = np.setdiff1d(wanted, self.lesson.genes)
        if len(wanted) < len(genes) and len(lost):
            names = ", ".join(genes.label(int(gene)) for gene in lost[:5])
            raise InputError(
                f"The published form leaves out {len(lost)} of the genes asked for ({names}): it "
                "drops genes above 200 counts in one location, or under 3 in all.",
                "Ask for other genes, turn the filters off, or choose the preset auto.",
            )

    def _batches(self) -> int:
        """Batches of the autoencoder in one pass."""
        n, batch = len(self.lesson), self.params.batch
        return batches(n, batch, remainder=True) if self.published else max(1, -(-n // batch))

    @property
    def _field_batch(self) -> int:
        return len(self.lesson) if self.published else self.params.batch

    def _stage(
        self,
        name: str,
        title: str,
        training: nn.Module,
        *,
        steps: int,
        learning_rate: float,
        stride: int = 1,
        **settings: Any,
    ) -> Stage:
        """Return a stage with what all stages have in common; see `SuicaParams.stride`."""
        first, second = _MOMENTA
        return Stage(
            name,
            title,
            training,
            len(self.lesson),
            steps=-(-steps // stride),
            learning_rate=stride * learning_rate,
            momenta=(first**stride, second**stride),
            decay=not self.published,
            patience=self.params.patience,
            validate_every=VALIDATE_EVERY,
            weight=self.weights[name],
            lower=_LOWER_PUBLISHED if self.published else _LOWER,
            clip=float("inf") if self.published else 5.0,
            **settings,
        )

    def _ensemble(self) -> Ensemble:
        params, measured = self.params, self.measured
        backbone = params.backbone_on(self.slide)
        with seeded(self.run.seed, "field"):
            return ensemble_of(
                measured.coordinates, measured.spacing_um, params, backbone, params.outputs
            )

    def _plain_decoders(self) -> list[Decoder]:
        genes = len(self.lesson.genes)
        with seeded(self.run.seed, "decoder"):
            decoders = [Decoder(self.params.hidden, (), genes) for _ in range(self.params.members)]
        if not self.published:
            for decoder in decoders:
                _start_at_frequencies(decoder, self.lesson)
        return decoders

    def _autoencoders(
        self,
    ) -> Generator[Progress, None, tuple[list[Decoder], Tensor]]:
        params, lesson = self.params, self.lesson
        genes, members = len(lesson.genes), range(params.members)
        with seeded(self.run.seed, "autoencoder"):
            networks = [GraphAutoencoder(genes, params.latent, params.widths) for _ in members]
        if not self.published:
            for network in networks:
                _start_at_frequencies(network.decoder, lesson)
        logs = lesson.values.copy()
        logs.data = np.log1p(logs.data)
        summed = self._summed(logs)
        loading = params.normalise == "neighbours"
        training = AutoencoderTraining(networks, summed, lesson, self.published, loading)
        validate = None
        if params.members > 1:
            every = Summed(self._graph(None), logs, whole=False)
            validate = partial(training.validation, every)
        stage = self._stage(
            "autoencoder",
            "learning the embedding",
            training,
            steps=self.steps,
            # Batches of one size, but as published: there the last of a pass is smaller.
            batch=params.batch if self.published else -(-len(lesson) // self._batches()),
            remainder=self.published,
            learning_rate=params.autoencoder_rate,
            stride=params.stride,
            validate=validate,
        )
        yield from self.trainer.fit(stage)
        z = yield from self._embedded(networks, summed)
        return [network.decoder.requires_grad_(True) for network in networks], z

    def _summed(self, logs: sparse.csr_matrix) -> list[Summed]:
        """Summed logs for every member, on the graph of the locations it sees."""
        members, leak = self.params.members, self.params.leak
        graphs = [self._graph(None if leak else self.lesson.seen(m)) for m in range(members)]
        # Several members would keep as many dense matrices.
        return [Summed(graph, logs, whole=members == 1) for graph in graphs]

    def _graph(self, among: NDArray[np.bool_] | None) -> sparse.csr_matrix:
        k = 1 if "graph" in self.params.without else self.params.neighbours
        return nearest_graph(self.lesson.places, k, among)

    def _embedded(
        self, networks: list[GraphAutoencoder], summed: list[Summed]
    ) -> Generator[Progress, None, Tensor]:
        """Every member's embeddings of what it sees."""
        lesson, device = self.lesson, self.trainer.device
        z = torch.zeros(len(networks), len(lesson), self.params.latent)
        for member, network in enumerate(networks):
            yield Progress("embedding the slide", member, len(networks), self.trainer.fraction)
            network.eval()
            seen = np.flatnonzero(lesson.seen(member))
            for start in range(0, len(seen), 2048):
                self.run.cancel.check()
                part = seen[start : start + 2048]
                with torch.no_grad():
                    z[member, part] = network.encode(*summed[member].rows(part, device)).cpu()
        return z

    def _embedding(self, ensemble: Ensemble, z: Tensor) -> Generator[Progress, None, None]:
        params = self.params
        stage = self._stage(
            "field",
            "learning the field",
            EmbeddingTraining(ensemble, self.lesson, z),
            steps=params.field_steps,
            batch=self._field_batch,
            learning_rate=params.learning_rate,
            weight_decay=params.weight_decay,
        )
        yield from self.trainer.fit(stage)
        ensemble.requires_grad_(True)

    def _expression(
        self, ensemble: Ensemble, decoders: list[Decoder]
    ) -> Generator[Progress, None, None]:
        params, lesson = self.params, self.lesson
        training: PublishedTraining | CountTraining
        validate = None
        together = params.alone
        if self.published:
            training = PublishedTraining(
                ensemble,
                decoders[0],
                lesson,
                dice="dice" not in params.without,
                together=together,
            )
        else:
            pitch = self.measured.spacing_um
            training = CountTraining(ensemble, decoders, lesson, params.jitter * pitch)
            if params.members > 1:
                validate = training.validation
        stage = self._stage(
            "decoder",
            "learning the expression",
            training,
            steps=params.decoder_steps,
            batch=self._field_batch,
            learning_rate=params.learning_rate,
            # A longer stride harms the field: trained here, it keeps its steps.
            stride=1 if together else params.stride,
            weight_decay=params.weight_decay,
            validate=validate,
        )
        yield from self.trainer.fit(stage)
        for module in (ensemble, *decoders):
            module.cpu().eval()

    def _learned(self, ensemble: Ensemble, decoders: list[Decoder]) -> Arrays:
        arrays = arrays_of(
            ensemble,
            decoders,
            self.lesson,
            self.slide,
            self.measured,
            self.params.backbone_on(self.slide),
            self.published,
        )
        return arrays | {"depth_bandwidth": np.array(self.depth_bandwidth)}

    def _fitted(self, learned: Arrays) -> SuicaFitted:
        return SuicaFitted(self.method, self.measured, self.params, self.run.seed, learned)

    def _preview(self, ensemble: Ensemble, decoders: list[Decoder]) -> NDArray[np.float32] | None:
        if self.run.preview is None:
            return None
        return self.run.preview(self._fitted(self._learned(ensemble, decoders)))

    def _further(self, learned: Arrays) -> Generator[Progress, None, None]:
        """Decode the genes asked for that no network was trained on, from the members' states."""
        wanted, lesson = self.measured.gene_columns, self.lesson
        further = np.flatnonzero(~np.isin(wanted, lesson.genes))
        if self.published or not len(further):
            return
        chosen = np.arange(len(lesson))
        if len(chosen) > MOST_DECODED:
            rng = np.random.default_rng([self.run.seed, 9])
            chosen = np.sort(rng.choice(len(chosen), MOST_DECODED, replace=False))
        counts = Counts(self.measured.counts.rows[lesson.rows[chosen]]).genes(further)
        offset = np.log(lesson.totals[chosen])
        fitted, ridge = self._fitted(learned), 0.0

        def checked(done: float) -> None:
            self.run.cancel.check()

        decoding, passes = "decoding all other genes", 2 * self.params.members * len(chosen)
        work, here = fitted.states(lesson.places[chosen], self.run), (_TRAINED, _TRAINED)
        states = yield from reported(work, decoding, passes, here, self.run)
        for member, (hidden, log_norm) in enumerate(states):
            yield Progress(decoding, member, self.params.members, _TRAINED)
            # What a member is held out from it must not see here either.
            seen = np.flatnonzero(lesson.seen(member)[chosen])
            told = hidden[seen], (offset - log_norm)[seen].astype(np.float32), counts[seen]
            ridge = ridge or chosen_ridge(*told, self.run.seed, checked)
            weight, bias = poisson_weights(*told, ridge=ridge, checked=checked)
            learned["weight"][member, further], learned["bias"][member, further] = weight, bias

    def _companion(self, learned: Arrays) -> Generator[Progress, None, None]:
        """Fit the kernel and find SUICA's share beside it where each member is blind."""
        lesson = self.lesson
        voting = np.flatnonzero(lesson.fold >= 0)
        if len(voting) > _MOST_VOTING:
            rng = np.random.default_rng([self.run.seed, 43])
            voting = np.sort(rng.choice(voting, _MOST_VOTING, replace=False))
        held, wanted = lesson.rows[voting], self.measured.gene_columns
        own = self._fitted(learned).left_out(held, lesson.fold[voting], self.run)
        own = own.with_output(learned["trained_weight"], learned["trained_bias"])
        fitting = fit_companion(self.slide, wanted, lesson.genes, own, held, self.run)
        companion = yield from spanned(fitting, (_TRAINED, 0.98))
        learned.update({f"kernel/{name}": array for name, array in companion.kept().items()})

    def _identity(self) -> str:
        """Fingerprint of all that decides the weights."""
        genes, params = self.lesson.genes, self.params.as_dict()
        return identity(self.method.name, self.slide, genes, params, self.run)


def _start_at_frequencies(decoder: Decoder, lesson: Lesson) -> None:
    """Let the decoder begin near what the slide holds on average."""
    totals = np.asarray(lesson.values.sum(axis=0), dtype=np.float64).ravel()
    log_share = np.log((totals + 0.5) / (totals + 0.5).sum())
    with torch.no_grad():
        decoder.output.weight.mul_(_FAINT)
        decoder.output.bias.copy_(torch.from_numpy(log_share.astype(np.float32)))
