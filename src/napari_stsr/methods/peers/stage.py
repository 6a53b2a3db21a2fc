"""STAGE, our implementation: an autoencoder whose latent space is the tissue itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.base import Estimate
from napari_stsr.methods.baselines.bandwidth import LeftOut
from napari_stsr.methods.baselines.depth import depth_bandwidth, smooth_depth
from napari_stsr.methods.baselines.smoothing import Smoother
from napari_stsr.methods.field import FieldFitted, FieldMethod, FieldParams
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params, parameter
from napari_stsr.methods.peers.logs import deep, log_normalised, regressed_logs
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.results.expression import LinearExpression, LoggedExpression
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run

if TYPE_CHECKING:
    from napari_stsr.methods.peers.stage_network import AutoEncoder

Arrays = dict[str, NDArray[Any]]
_DECODER_LAYERS = 4
_RIDGE = 0.01
_PASSES = 2000


@dataclass(frozen=True)
class StageParams(FieldParams):
    """What the user can set; see docs/methods/peers.md for the network."""

    variable_genes: int = parameter(
        2000,
        "Variable genes",
        "Genes the network learns from; all others are regressed on what it decodes.",
        low=2,
        high=20000,
    )
    hidden: int = parameter(
        256, "Hidden units", "Width of the first layer.", low=10, high=4096, advanced=True
    )
    steps: int = parameter(
        800,
        "Steps",
        "Most training steps; 0 takes 2,000 passes over the slide, as published.",
        low=0,
        high=1_000_000,
        advanced=True,
    )
    batch: int = parameter(
        512, "Batch size", "Locations in one training step.", low=4, high=8192, advanced=True
    )
    learning_rate: float = parameter(
        1e-3, "Learning rate", "Step size of Adam.", low=1e-6, high=1.0, advanced=True
    )
    validation_share: float = parameter(
        0.1,
        "Validation share",
        "Share of the locations kept from training to choose the best weights; 0 trains to the "
        "end, as published.",
        low=0.0,
        high=0.5,
        advanced=True,
    )
    patience: int = parameter(
        8,
        "Patience",
        "Validations (every 25 steps) without a better one before training ends; 0 never ends it.",
        low=0,
        high=1000,
        advanced=True,
    )
    projections: int = parameter(
        50,
        "Projections",
        "Random directions in which latent values and coordinates are compared as clouds.",
        low=1,
        high=10_000,
        advanced=True,
    )


class StageFitted(FieldFitted):
    """The decoder: from a place to the logs of all genes. It needs no torch."""

    def field(self, coordinates: NDArray[np.float64], run: Run) -> tuple[LoggedExpression, None]:
        """Decode the logs at each place; the depth is that of the locations around.

        Beyond the tissue's bounding box the decoder is asked at the box's edge: it grows without
        bound where it never saw a place.
        """
        measured, learned = self.measured, self.learned
        low, high = measured.coordinates.min(axis=0), measured.coordinates.max(axis=0)
        places = (np.clip(coordinates, low, high) - learned["origin"]) / learned["side"]
        logs = LinearExpression(hidden(places, learned), learned["weight"], learned["bias"])
        smoother = Smoother.of(self.measured, coordinates)
        depth = smooth_depth(smoother, measured.totals, float(learned["depth_bandwidth"]))
        return LoggedExpression(logs, depth), None


def _steps(params: StageParams, items: int) -> int:
    return params.steps or _PASSES * max(1, items // params.batch)


def hidden(places: NDArray[Any], decoder: Arrays) -> NDArray[np.float32]:
    """Last hidden layer at normalised coordinates, (m, hidden)."""
    state = places.astype(np.float32)
    for layer in range(_DECODER_LAYERS):
        state = np.maximum(state @ decoder[f"weight {layer}"] + decoder[f"bias {layer}"], 0)
    return state


class Stage(FieldMethod):
    """A network that learns to decode expression from the place."""

    name = "stage"
    title = "Our implementation of STAGE"
    summary = (
        "An autoencoder of expression whose two latent values are taught to be the location's "
        "coordinates; its decoder then answers at any coordinates."
    )
    paper = "Li et al., Nucleic Acids Research 2024 (10.1093/nar/gkae294)"
    family = "peer"
    params = StageParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "fast": {"steps": 300},
        "paper": {
            "steps": 0,
            "hidden": 1000,
            "projections": 1000,
            "validation_share": 0.0,
        },
    }
    fewest = 20
    fitted = StageFitted

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time of the training; the constants were measured on one core."""
        assert isinstance(params, StageParams)
        genes, batch = min(params.variable_genes, len(slide.genes)), min(params.batch, len(slide))
        units = params.hidden * (genes + params.hidden / 2)
        step = 8e-3 + batch * (1.2e-10 * units + 2e-8 * genes + 2e-7 * params.projections)
        memory = 600e6 + 24.0 * slide.counts.nnz + 32.0 * units + 4.0 * len(targets) * params.hidden
        seconds = 4 + _steps(params, len(slide)) * step + 3e-8 * len(targets) * params.hidden
        return Estimate(int(memory), seconds)

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, Arrays]:
        """Train encoder and decoder together, then regress the genes they did not see."""
        from napari_stsr.methods.peers.stage_network import AutoEncoder, StageTraining
        from napari_stsr.training import loop
        from napari_stsr.training.checkpoint import Checkpoints, identity
        from napari_stsr.training.device import limited_threads

        lesson = _Lesson.of(slide, measured, params)
        left_out = LeftOut.of(
            measured.coordinates, measured.totals > 0, measured.spacing_um, run.seed
        )
        width = depth_bandwidth(left_out, measured.totals, run.cancel.check)
        with loop.seeded(run.seed, "stage"):
            network = AutoEncoder(len(lesson.genes), params.hidden)

        def learned() -> Arrays:
            return {"depth_bandwidth": np.array(width), **lesson.learned(network)}

        def snapshot() -> NDArray[np.float32] | None:
            fitted = StageFitted(self, measured, params, run.seed, learned())
            return None if run.preview is None else run.preview(fitted)

        owner = identity(self.name, slide, lesson.genes, params.as_dict(), run)
        trainer = loop.Trainer(run, Checkpoints(run.checkpoints, owner), 1.0, snapshot)
        order = np.random.default_rng([run.seed, 1]).permutation(len(lesson.places))
        held, items = np.split(order, [round(params.validation_share * len(order))])
        training = StageTraining(network, lesson.logs, lesson.places, items, params.projections)
        stage = loop.Stage(
            "autoencoder",
            "learning places and expression",
            training,
            len(items),
            _steps(params, len(items)),
            params.batch,
            params.learning_rate,
            validate=(lambda: training.validation(held)) if len(held) else None,
            patience=params.patience,
            lower="the batch size, hidden units or variable genes",
        )
        with limited_threads(run.threads):
            yield from trainer.fit(stage)
        return learned()


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What the network is taught: logs (n, g) of some `genes` at normalised `places` (n, 2)."""

    measured: Measured
    rows: NDArray[np.int64]
    genes: NDArray[np.int64]
    logs: sparse.csr_matrix
    origin: NDArray[np.float64]
    side: float
    places: NDArray[np.float32]

    @classmethod
    def of(cls, slide: Slide, measured: Measured, params: StageParams) -> _Lesson:
        rows = np.flatnonzero(deep(measured.totals))
        genes = variable_genes(slide.counts, params.variable_genes, measured.gene_columns)
        logs = log_normalised(slide.counts.genes(genes)[rows], measured.totals[rows])
        origin = measured.coordinates.min(axis=0)
        side = max(float(np.ptp(measured.coordinates, axis=0).max()), 1e-9)
        places = ((measured.coordinates[rows] - origin) / side).astype(np.float32)
        return cls(measured, rows, genes, logs, origin, side, places)

    def learned(self, network: AutoEncoder) -> Arrays:
        """Decoder as arrays; genes it was not taught are regressed on its last hidden layer."""
        decoder, measured = network.plain_decoder(), self.measured
        wanted = measured.gene_columns
        taught = np.isin(wanted, self.genes)
        at = np.searchsorted(self.genes, wanted[taught])
        weight = np.zeros((network.output.in_features, len(wanted)), dtype=np.float32)
        bias = np.zeros(len(wanted), dtype=np.float32)
        weight[:, taught] = network.output.weight.detach().cpu().numpy().T[:, at]
        bias[taught] = network.output.bias.detach().cpu().numpy()[at]
        if not taught.all():
            further = measured.counts.genes(np.flatnonzero(~taught))[self.rows]
            states, totals = hidden(self.places, decoder), measured.totals[self.rows]
            weight[:, ~taught], bias[~taught] = regressed_logs(further, totals, states, _RIDGE)
        frame = {"origin": self.origin, "side": np.array(self.side)}
        return {**frame, **decoder, "weight": weight, "bias": bias}
