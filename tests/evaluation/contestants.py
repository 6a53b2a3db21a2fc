"""Methods to evaluate, with every outcome a method can have, registered for one test."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.methods import Fitted, Method, parameter, registry
from napari_stsr.methods.baselines.gene_mean import GeneMean
from napari_stsr.methods.baselines.inverse_distance import (
    InverseDistance,
    InverseDistanceParams,
    Nearest,
)
from napari_stsr.methods.baselines.uniform_split import UniformSplit
from napari_stsr.results import Enhancement, StoredExpression
from napari_stsr.slides import Slide, Targets
from napari_stsr.training import Progress, Run


@dataclass(frozen=True)
class OursParams(InverseDistanceParams):
    steps: int = parameter(3, "Steps", "How long it takes.", low=1, high=1000)


class Ours(InverseDistance):
    """A method of ours that counts its fits and their steps."""

    name = "ours"
    title = "Ours"
    family = "method"
    params = OursParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "fast": {"steps": 1},
        "paper": {},
    }
    fits: ClassVar[list[int]] = []

    def fit(
        self, slide: Slide, params: Any, run: Run, genes: Any = None
    ) -> Generator[Progress, None, Fitted]:
        self.fits.append(0)
        for step in range(params.steps):
            run.cancel.check()
            self.fits[-1] += 1
            losses = {"training": 1.0}
            yield Progress("ours", step, params.steps, step / params.steps, losses)
        return (yield from super().fit(slide, params, run, genes))


class Refusing(Nearest):
    """Needs what no slide has."""

    name = "refusing"
    title = "Refusing"

    def check(self, slide: Slide, targets: Targets, params: Any) -> None:
        raise InputError("There is no second slide.", "Open one.")


class OnlyParts(Nearest):
    """Answers for parts of spots and nowhere else."""

    name = "only_parts"
    title = "Only parts"
    family = "peer"

    def check(self, slide: Slide, targets: Targets, params: Any) -> None:
        if targets.kind != "subspots":
            raise InputError("These are no parts of spots.", "Ask for subspots.")


class Breaking(Nearest):
    name = "breaking"
    title = "Breaking"

    def learn(self, *_: Any) -> Generator[Progress, None, dict[str, Any]]:
        yield Progress("learning", 0, 1, 0.0)
        raise RuntimeError("wires crossed")


class _Spoilt(Nearest):
    """Its answer is changed before anybody sees it."""

    spoil: ClassVar[Callable[[Enhancement], Enhancement]]

    def fit(self, *given: Any) -> Generator[Progress, None, Any]:
        fitted = yield from super().fit(*given)
        spoil = type(self).spoil

        class Spoilt:
            def predicting(self, targets: Targets, run: Run) -> Generator[Progress, None, Any]:
                yield Progress("predicting", 0, 1, 1.0)
                return spoil(fitted.predict(targets, run))

        return Spoilt()


def _with_nan(answer: Enhancement) -> Enhancement:
    values = answer.expression_source.columns(np.arange(len(answer.genes))).copy()
    values[3, 2] = np.nan
    return replace(answer, expression_source=StoredExpression(values))


def _other_genes(answer: Enhancement) -> Enhancement:
    few = np.arange(len(answer.genes) - 1)
    values = answer.expression_source.columns(few)
    return replace(answer, genes=answer.genes.take(few), expression_source=StoredExpression(values))


class NotANumber(_Spoilt):
    name = "not_a_number"
    title = "Not a number"
    spoil = staticmethod(_with_nan)


class OtherGenes(_Spoilt):
    name = "other_genes"
    title = "Other genes"
    spoil = staticmethod(_other_genes)


GOOD: tuple[type[Method], ...] = (Ours, GeneMean, Nearest, UniformSplit, OnlyParts)
BAD: tuple[type[Method], ...] = (Refusing, Breaking, NotANumber, OtherGenes)


@contextmanager
def contestants(*kinds: type[Method]) -> Iterator[type[Ours]]:
    """Install these methods as the only ones."""
    entries: dict[str, Any] = {
        kind.name: SimpleNamespace(name=kind.name, load=lambda kind=kind: kind)
        for kind in kinds or GOOD + BAD
    }
    Ours.fits.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_found", lambda: entries)
        registry.get_method.cache_clear()
        yield Ours
    registry.get_method.cache_clear()
