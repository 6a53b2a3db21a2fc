"""What is to be evaluated: protocols, methods, folds and genes, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.advice import check_protocol
from napari_stsr.evaluation.protocols import protocol
from napari_stsr.methods import Estimate, Method, Params, get_method, method_names
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.slides import Slide

# Smallest and largest of the numbers.
_WITHIN = {
    "folds": (1, 1000),
    "variable": (2, 10**9),
    "scored": (1, 10**9),
    "seed": (0, 2**63 - 1),
    "draws": (10, 1_000_000),
}
# To judge one value, with the usual draws; measured on sections and on 700,000 bins.
_SCORING_S = 1.5e-6
_PRECISIONS = ("auto", "32", "bf16", "16")
_GROUPS = {"methods": "method", "baselines": "baseline", "peers": "peer"}


@dataclass(frozen=True)
class Contender:
    """A method with its parameters, as it takes part in an evaluation.

    Parameters
    ----------
    method, preset : str
    values : mapping
        Parameters that differ from the preset.
    label : str
        What tells it from the same method with other parameters.
    """

    method: str
    preset: str = "auto"
    values: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def key(self) -> str:
        """Short name, unique in its plan."""
        return f"{self.method}:{self.label}" if self.label else self.method

    @property
    def title(self) -> str:
        """Name for people."""
        title = self.learner.title
        return f"{title} ({self.label})" if self.label else title

    @property
    def family(self) -> str:
        """``"method"``, ``"baseline"`` or ``"peer"``."""
        return self.learner.family

    @property
    def learner(self) -> Method:
        """The method itself."""
        return get_method(self.method)

    def params(self) -> Params:
        """Parameters; raises InputError for what the method does not know."""
        return self.learner.parameters(self.preset, self.values)

    def described(self) -> dict[str, Any]:
        """Return all that fixes it, JSON-ready."""
        return {
            "key": self.key,
            "method": self.method,
            "title": self.title,
            "family": self.family,
            "preset": self.preset,
            "values": {name: str(value) for name, value in self.values.items()},
            "params": self.params().as_dict(),
        }


@dataclass(frozen=True)
class Unit:
    """The smallest piece of work: one method on one fold of one protocol."""

    protocol: str
    fold: int
    contender: Contender

    def __str__(self) -> str:
        return f"{self.contender.title}, {self.protocol}, fold {self.fold + 1}"


@dataclass(frozen=True, eq=False)
class EvaluationPlan:
    """Which methods are judged, how, and on which genes of a slide.

    Parameters
    ----------
    protocols : sequence of str
    contenders : sequence of Contender or str
        The first of family "method" is the one the sentence is about.
    folds : int
    genes : sequence of str
        Ids or symbols that are kept and scored whatever their rank.
    variable : int
        The evaluation is restricted to so many of the most variable genes, and those named.
    scored : int
        Genes scored: those with the highest Moran's I in each fold's training data.
    seed : int
        Same slide, plan and versions, same figures.
    draws : int
        Bootstrap draws behind the intervals.
    device, precision : str
        As in `Run`.

    Raises
    ------
    InputError
        For an unknown protocol, method or parameter, or a number that cannot be.
    """

    protocols: Sequence[str] = ("hidden-spots",)
    contenders: Sequence[Contender | str] = ("square", "baselines")
    folds: int = 5
    genes: Sequence[str] = ()
    variable: int = 1000
    scored: int = 300
    seed: int = 0
    draws: int = 200
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("protocols", "contenders", "genes"):
            object.__setattr__(self, name, _several(name, getattr(self, name)))
        if not self.protocols:
            raise InputError("No protocol was named.", "Name at least one, such as hidden-spots.")
        for name in self.protocols:
            protocol(name)
        for name, (low, high) in _WITHIN.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), low, high))
        if not isinstance(self.device, str) or not self.device:
            raise InputError(f"device = {self.device!r} cannot be.", "Name one, such as cpu.")
        if self.precision not in _PRECISIONS:
            raise InputError(
                f"precision = {self.precision!r} cannot be.",
                f"Choose {', '.join(_PRECISIONS)}.",
            )
        for name in ("protocols", "genes"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        object.__setattr__(self, "contenders", contenders(self.contenders))
        for contender in self.methods:
            contender.params()

    @property
    def methods(self) -> tuple[Contender, ...]:
        """The contenders, in order."""
        return tuple(c for c in self.contenders if isinstance(c, Contender))

    def contender(self, key: str) -> Contender:
        """Return the contender of that key."""
        return next(contender for contender in self.methods if contender.key == key)

    def restricted(self, slide: Slide) -> Slide:
        """Return the slide with the evaluation's genes only.

        Raises
        ------
        InputError
            For counts that are no numbers or all zero, or an unknown gene.
        """
        held = slide.counts.rows.data
        bad = int((~np.isfinite(held)).sum())
        if bad:
            raise InputError(
                f"{slide.name!r} holds {bad:,} counts that are no numbers.", "Repair the slide."
            )
        if held.min(initial=0) < 0:
            raise InputError(
                f"{slide.name!r} holds negative counts (smallest {held.min():g}).",
                "Open the raw counts instead of scaled or centred ones.",
            )
        columns = variable_genes(slide.counts, self.variable)
        return slide.with_genes(np.union1d(columns, self.named(slide)))

    def named(self, slide: Slide) -> NDArray[np.int64]:
        """Columns of the genes that were named."""
        if not self.genes:
            return np.zeros(0, dtype=np.int64)
        return slide.genes.columns(self.genes)

    def check(self, slide: Slide) -> Slide:
        """Return the restricted slide, once it is seen that all protocols can work on it.

        Raises
        ------
        InputError
            When one cannot, with the reason.
        """
        restricted = self.restricted(slide)
        for name in self.protocols:
            check_protocol(name, restricted, self.folds)
        return restricted

    def units(self, restricted: Slide) -> list[Unit]:
        """All pieces of work, fold after fold, so that a stopped run has whole folds."""
        return [
            Unit(name, fold, contender)
            for name in self.protocols
            for fold in range(protocol(name).fold_count(restricted, self.folds))
            for contender in self.methods
        ]

    def estimate(self, slide: Slide) -> Estimate:
        """Memory and time of the whole evaluation on one core; a guess, told before the start."""
        restricted = self.check(slide)
        targets, memory, seconds = restricted.locations(), 0, 0.0
        for unit in self.units(restricted):
            try:
                one = unit.contender.learner.estimate(restricted, targets, unit.contender.params())
            except InputError:
                continue
            judged = protocol(unit.protocol).judged * len(restricted)
            scoring = _SCORING_S * judged * min(self.scored, len(restricted.genes))
            memory = max(memory, one.memory_bytes)
            seconds += one.seconds + scoring
        return Estimate(memory, seconds)

    def described(self) -> dict[str, Any]:
        """Return the plan, JSON-ready."""
        names = ("folds", "variable", "scored", "seed", "draws", "device", "precision")
        return {
            "protocols": list(self.protocols),
            "contenders": [contender.described() for contender in self.methods],
            "genes": list(self.genes),
            **{name: getattr(self, name) for name in names},
        }


def _whole(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number within its bounds; True and "3" are none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name} = {value!r} is no whole number.", f"Choose one such as {low}.")
    if not low <= value <= high:
        raise InputError(f"{name} = {value} cannot be.", f"Choose {low:,} to {high:,}.")
    return int(value)


def _several(name: str, given: object) -> tuple[Any, ...]:
    """Return a tuple of names, of one or of several."""
    kinds = (str, Contender) if name == "contenders" else (str,)
    if isinstance(given, kinds):
        return (given,)
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    wrong = [one for one in found if not isinstance(one, kinds)]
    if wrong:
        raise InputError(f"{name} holds {wrong[0]!r}, which is no name.", "Give a list of names.")
    return found


def contenders(named: Sequence[Contender | str], preset: str = "auto") -> tuple[Contender, ...]:
    """Return contenders from names: ``"square"``, ``"square:fast"``, or ``"baselines"`` for all.

    Parameters
    ----------
    named : sequence of str or Contender
    preset : str
        Of those that name none.

    Raises
    ------
    InputError
        When there is none, or one is unknown or named twice.
    """
    found: list[Contender] = []
    for one in named:
        if isinstance(one, Contender):
            found.append(one)
        elif one in _GROUPS:
            family = _GROUPS[one]
            able = [name for name in method_names() if get_method(name).family == family]
            found += [Contender(name, preset) for name in able]
        else:
            method, colon, own = one.partition(":")
            found.append(Contender(method, own if colon else preset, {}, own))
    if not found:
        raise InputError("No method was named.", f"Installed: {', '.join(method_names())}.")
    return _distinct(found)


def _distinct(found: list[Contender]) -> tuple[Contender, ...]:
    """Drop what is named twice alike; refuse what differs under one name."""
    kept: dict[str, Contender] = {}
    for one in found:
        get_method(one.method)
        if kept.setdefault(one.key, one) != one:
            raise InputError(
                f"{one.key!r} takes part twice, with different parameters.",
                "Give one of them a label.",
            )
    return tuple(kept.values())
