"""A fitted Square: predicts at subspots, grids and points, and can be saved."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stsr.methods.answer import Answer, Parts, measured_there
from napari_stsr.methods.base import Fitted
from napari_stsr.methods.doubt import Doubt
from napari_stsr.methods.square.edges import Edges, assembled
from napari_stsr.methods.square.learned import Learned
from napari_stsr.methods.square.saved import write_learned
from napari_stsr.methods.square.template import Tasks, canonical, location_tasks, site_tasks
from napari_stsr.methods.square.uncertainty import (
    EmbeddingNoise,
    SpreadExpression,
    distance_share,
    out_of_sight,
)
from napari_stsr.results import Attention, DecodedExpression, Enhancement
from napari_stsr.results.expression import Composed, Expression
from napari_stsr.results.posterior import OwnCounts
from napari_stsr.slides import Targets, points
from napari_stsr.training import Progress, Run
from napari_stsr.training.device import limited_threads
from napari_stsr.training.progress import Pace, outcome

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


class SquareFitted(Fitted):
    """What Square learned from a slide.

    Parameters
    ----------
    learned : Learned
    """

    def __init__(self, learned: Learned) -> None:
        self.learned = learned

    def predict(self, targets: Targets, run: Run | None = None) -> Enhancement:
        """Predict at subspots of the learned slide, or at any points.

        A target inside the cell of a measured location sees that location in the centre; any other
        sees only its neighbours. Conservation holds for subspots, whole locations at a time, also
        where only some of a location's parts are asked for.
        """
        return outcome(self.predicting(targets, run))

    def predicting(
        self, targets: Targets, run: Run | None = None
    ) -> Generator[Progress, None, Enhancement]:
        """Predict, reporting on the way, on the run's device; see `predict`."""
        there = self if run is None else SquareFitted(self.learned.on(run.device))
        run = run or Run()
        with limited_threads(run.threads):
            work = there._subspots if targets.kind == "subspots" else there._points
            return (yield from work(targets, run))

    def at(self, places: Floats, run: Run | None = None) -> Expression:
        """Expected counts of a whole location centred at each place (m, 2): the field itself.

        No place has counts of its own in it, so it is smooth at the centres of locations too.
        """
        run = run or Run()
        targets = points(places, self.learned.diameter_um)
        with limited_threads(run.threads):
            return outcome(self._told_at(targets, run, attending=False)).expected

    def _subspots(self, targets: Targets, run: Run) -> Generator[Progress, None, Enhancement]:
        learned, lattice = self.learned, self.learned.lattice
        parts = Parts.of(targets, lattice, learned.coordinates)
        k, parent, share = parts.each, parts.parent, parts.share
        virtual = canonical(lattice.kind, lattice.division(k).offsets)[None]
        sites, log_size = lattice.sites[parts.locations], -float(np.log(k))
        tasks = site_tasks(lattice, sites, virtual, log_size, learned.params.rings)
        reports = _Reports(run, len(tasks) * k)
        states, attention = yield from self._diffused(tasks, reports)
        assert attention is not None
        decoded = yield from self._decoded(states, reports)
        expected = self._mixed(decoded, parts.places, share, run)
        seen = learned.observed.usable[parent].numpy()
        counted = learned.own_counts(parent, k, expected.depth)
        told = self._spread(expected, states, parts.places, share, seen, counted)
        answer = Answer.of(expected, told, counted)
        rule = learned.params.conserve
        answer = answer.conserved(rule, expected, parts, learned.measured, run.seed)
        rows, z = parts.rows, states.z.numpy()
        if not parts.complete:
            answer, attention, z = answer.take(rows), attention.take(rows), z[rows]
        return self._enhancement(targets, answer, attention, z, parts.owner)

    def _points(self, targets: Targets, run: Run) -> Generator[Progress, None, Enhancement]:
        learned, lattice = self.learned, self.learned.lattice
        told = yield from self._told_at(targets, run)
        expected, states, share = told.expected, told.states, told.share
        places = targets.coordinates
        parent = lattice.location_at(lattice.nearest_site(places))
        seen = learned.observed.usable[parent].numpy() & (parent >= 0)
        # Counts of its own has only what is a location as it was measured.
        counted = None
        if learned.trust is not None:
            own = measured_there(targets, share, learned.coordinates, lattice.pitch_um)
            counted = learned.own_counts(own, 1, expected.depth)
        spread = self._spread(expected, states, places, share, seen, counted)
        answer = Answer.of(expected, spread, counted)
        return self._enhancement(targets, answer, told.attention, states.z.numpy())

    def _told_at(
        self, targets: Targets, run: Run, attending: bool = True
    ) -> Generator[Progress, None, _Told]:
        """What networks and companion say of points; attention is gathered on request."""
        learned, lattice = self.learned, self.learned.lattice
        sites = lattice.nearest_site(targets.coordinates)
        offset = (lattice.fractional(targets.coordinates) - sites)[:, None]
        virtual = canonical(lattice.kind, offset)
        inside = lattice.location_at(sites) >= 0
        share = targets.area_um2 / self._location_area(targets)
        log_area = np.log(share).astype(np.float32)
        parts = float(np.log(len(lattice.division(lattice.divisions[0]).offsets)))
        states = _States.empty(len(targets), learned.codec.latent)
        pieces: list[tuple[Ints, Attention]] = []
        reports = _Reports(run, len(targets))
        # Inside a measured cell the network speaks of a part of it, elsewhere of a whole location.
        for chosen, log_size in ((inside, -parts), (~inside, 0.0)):
            rows = np.flatnonzero(chosen)
            if len(rows):
                tasks = site_tasks(
                    lattice, sites[rows], virtual[rows], log_size, learned.params.rings
                )
                some, attention = yield from self._diffused(tasks, reports, attending=attending)
                some.log_depth -= log_size
                states.put(rows, some)
                if attention is not None:
                    pieces.append((rows, attention))
        states.log_depth += torch.from_numpy(log_area)
        decoded = yield from self._decoded(states, reports)
        expected = self._mixed(decoded, targets.coordinates, share, run)
        return _Told(expected, states, share, assembled(pieces) if attending else None)

    def _mixed(
        self, decoded: DecodedExpression, places: Floats, share: Floats, run: Run
    ) -> Composed:
        """Mix the networks' answer with the companion's, whose places hold a share of the area."""
        companion = self.learned.companion
        if companion is None:
            return decoded
        field, _ = companion.kernel.field(places, run)
        return companion.mixed(decoded, field, share, 1 - out_of_sight(self.learned, places))

    def left_out(self, locations: Ints, run: Run) -> DecodedExpression:
        """Expected counts of measured locations by the networks alone, each told by the others."""
        lattice, identity = self.learned.lattice, np.eye(2, dtype=np.int64)
        tasks = location_tasks(lattice, locations, identity, self.learned.params.rings)
        return self.given_back(tasks, run)[0]

    def given_back(
        self, tasks: Tasks, run: Run, log_gain: float = 0.0
    ) -> tuple[DecodedExpression, EmbeddingNoise | None]:
        """Answer tasks by the networks alone: expected counts, and the doubt of the embedding."""
        reports = _Reports(run, tasks.truth.size)
        states, _ = outcome(self._diffused(tasks, reports, attending=False))
        states.log_depth += log_gain
        decoded = outcome(self._decoded(states, reports))
        return decoded, EmbeddingNoise.of(self.learned, states.z, states.variance)

    def _spread(
        self,
        expected: Composed,
        states: _States,
        places: Floats,
        share: Floats,
        seen: NDArray[np.bool_],
        counted: OwnCounts | None,
    ) -> SpreadExpression | None:
        """Standard deviation of the expected counts, once the fit has measured what it takes.

        Where own counts are weighed afterwards, it is that of locations told by the others.
        """
        learned = self.learned
        if learned.spread is None:
            return None
        noise = EmbeddingNoise.of(learned, states.z, states.variance)
        parts = learned.lattice.divisions[0]
        part = np.clip((1 - share) / (1 - 1 / parts), 0, 1).astype(np.float32)
        far = distance_share(learned, places)
        doubt = Doubt(expected, noise)
        return SpreadExpression(doubt, learned.spread, seen, part, far, counted)

    def _location_area(self, targets: Targets) -> float:
        """Area a whole location stands for, in the sense of the targets."""
        if targets.kind == "grid":
            return abs(float(np.linalg.det(self.learned.lattice.basis)))
        return np.pi * self.learned.diameter_um**2 / 4

    def _decoded(
        self, states: _States, reports: _Reports, chunk: int = 8192
    ) -> Generator[Progress, None, DecodedExpression]:
        z = states.z
        hidden = np.empty((len(z), self.learned.codec.output.in_features), dtype=np.float32)
        log_norm = np.empty(len(z), dtype=np.float32)
        for start in range(0, len(z), chunk):
            part = slice(start, start + chunk)
            hidden[part], log_norm[part] = self.learned.states(z[part])
            yield from reports.after(len(z[part]))
        depth = np.exp(states.log_depth.numpy())
        return DecodedExpression(hidden, self.learned.weight, self.learned.bias, log_norm, depth)

    def _diffused(
        self, tasks: Tasks, reports: _Reports, chunk: int = 1024, attending: bool = True
    ) -> Generator[Progress, None, tuple[_States, Attention | None]]:
        """States of the b·v virtual nodes of all tasks, and attention on request."""
        learned, count = self.learned, tasks.virtual.shape[1]
        device = learned.diffusion.correction.weight.device
        gathered = Edges(len(tasks) * count * (1 + len(tasks.positions)), len(learned.coordinates))
        states = _States.empty(len(tasks) * count, learned.codec.latent)
        for start in range(0, len(tasks), chunk):
            part = _part(tasks, slice(start, start + chunk))
            around = learned.observed.around(part, learned.params.centre_prior, device)
            # Not around the loop: between reports the switch would hold for whoever runs then.
            with torch.no_grad():
                some_z, some_depth, weights = learned.diffusion(around)
            some = _States(
                some_z.flatten(0, 1).float().cpu(),
                some_depth.flatten().float().cpu(),
                learned.observed.spread_by(part, weights[-1].mean(-1)),
            )
            states.put(slice(start * count, (start + chunk) * count), some)
            if attending:
                gathered.add(part, [weight.float().cpu().numpy() for weight in weights])
            yield from reports.after(len(part) * count)
        return states, gathered.attention() if attending else None

    def _enhancement(
        self,
        targets: Targets,
        answer: Answer,
        attention: Attention | None,
        embedding: Floats32,
        owner: Ints | None = None,
    ) -> Enhancement:
        learned = self.learned
        parents = np.full(len(targets), "", dtype=learned.barcodes.dtype)
        flags = np.ones(len(targets), dtype=bool)
        return Enhancement(
            f"{learned.name} · Square",
            targets,
            learned.genes,
            answer.expression,
            learned.scale,
            flags,
            flags,
            parents if owner is None else learned.barcodes[owner],
            attention,
            learned.barcodes,
            learned.coordinates,
            embedding,
            answer.denoised,
            answer.uncertainty,
            answer.unseen,
        )

    def save(self, path: Path) -> None:
        """Write networks, embeddings and measured counts, complete or not at all."""
        write_learned(Path(path), self.learned)


@dataclass(frozen=True, eq=False)
class _Told:
    """Expected counts of points, what they were made of, and each point's share of a location."""

    expected: Composed
    states: _States
    share: Floats
    attention: Attention | None


@dataclass(eq=False)
class _States:
    """Embeddings (m, latent) of virtual nodes, their log depths (m,), and their variance.

    The variance is empty, (0, latent), where that of the observed nodes is not known.
    """

    z: Tensor
    log_depth: Tensor
    variance: Tensor

    @classmethod
    def empty(cls, count: int, latent: int) -> _States:
        return cls(torch.empty(count, latent), torch.empty(count), torch.empty(0, latent))

    def put(self, at: Ints | slice, some: _States) -> None:
        self.z[at], self.log_depth[at] = some.z, some.log_depth
        if len(some.variance):
            if not len(self.variance):
                self.variance = torch.zeros_like(self.z)
            self.variance[at] = some.variance


class _Reports:
    """Reports of a prediction, which passes over its places twice: graph, then decoder."""

    def __init__(self, run: Run, places: int) -> None:
        self._run, self._total, self._step, self._pace = run, 2 * places, 0, Pace()
        run.cancel.check()

    def after(self, places: int) -> Iterator[Progress]:
        """Count places done, stop if asked, and report if a report is due."""
        self._run.cancel.check()
        self._step += places
        if self._pace.due():
            done = self._step / self._total
            yield Progress(
                "predicting",
                self._step,
                self._total,
                done,
                eta_s=self._pace.eta_s(done),
            )


def _part(tasks: Tasks, rows: slice) -> Tasks:
    virtual = tasks.virtual if len(tasks.virtual) == 1 else tasks.virtual[rows]
    return Tasks(
        tasks.centre[rows],
        tasks.context[rows],
        tasks.positions,
        tasks.truth[rows],
        virtual,
        tasks.log_size,
    )
