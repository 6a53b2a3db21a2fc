"""Two methods on the same folds and genes, and the plain sentence that says who is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from napari_stsr.evaluation.metrics import Interval, interval
from napari_stsr.evaluation.scores import Scores

_PROPER = ("Gaussian", "Poisson")
Verdict = Literal["better", "worse", "alike"]


@dataclass(frozen=True)
class Side:
    """One of the two: its name for people, and its median r, mean of the folds."""

    title: str
    r_log: float
    r_raw: float


@dataclass(frozen=True)
class Comparison:
    """A method against another, paired fold by fold; never pooled over folds.

    Attributes
    ----------
    method, other : Side
    log, raw : Interval
        Difference of the median r of logs, and of raw counts: mean over folds, and the paired 95 %
        bootstrap interval over locations.
    by_fold : tuple of float
        Difference of the median r of logs in each fold.
    won, genes : float
        Genes with a higher r of logs, a tie counting half, and genes compared: means over folds.
    ceiling : float
        Median noise ceiling of r of logs, nan where unknown.
    """

    method: Side
    other: Side
    log: Interval
    raw: Interval
    by_fold: tuple[float, ...]
    won: float
    genes: float
    ceiling: float

    @property
    def verdict(self) -> Verdict:
        """What the paired interval of logs allows to say."""
        return _verdict(self.log)

    @property
    def verdict_raw(self) -> Verdict:
        """The same in raw counts."""
        return _verdict(self.raw)

    def sentence(self) -> str:
        """Say who is better, by how much, and out of what; `other` being the best baseline."""
        me, other = self.method.title, f"the best baseline, {lowered(self.other.title)},"
        won = f"on {self.won:.0f} of {self.genes:.0f} genes"
        of = possible(self.ceiling)
        mine, theirs = told_apart(self.method.r_log, self.other.r_log)
        if self.verdict == "alike":
            return (
                f"{me} and {other} cannot be told apart: median r {mine} and {theirs}{of}, a "
                f"difference within the noise; {inside(me)} is ahead {won}."
            )
        against = f"median r {mine} against {theirs}{of}"
        if self.verdict == "better":
            only = "" if 2 * self.won > self.genes else "but only "
            return f"{me} beats {other} {only}{won}; {against}."
        return f"{me} loses to {other} {against}; it is ahead {won}."

    def in_counts(self) -> str:
        """Say the same of raw counts; `other` being the best baseline in these."""
        me = inside(self.method.title)
        other = f"the best baseline there, {lowered(self.other.title)}"
        mine, theirs = told_apart(self.method.r_raw, self.other.r_raw)
        if self.verdict_raw == "alike":
            said = f"{me} and {other}, cannot be told apart: median r {mine} and {theirs}."
        else:
            said = f"{me} is {self.verdict_raw} than {other}: median r {mine} against {theirs}."
        return f"In raw counts {said}"


def compared(
    titles: tuple[str, str],
    mine: Sequence[Scores],
    theirs: Sequence[Scores],
    form: str,
    ceiling: float,
) -> Comparison:
    """Compare two methods on the folds both answered.

    Parameters
    ----------
    titles : (str, str)
    mine, theirs : sequence of Scores
        Of one task, one a fold.
    form : str
        Form of the answer; a method without it is taken by its first.
    ceiling : float
    """
    pairs = paired(mine, theirs)
    log, raw = (_differences(pairs, form, figure) for figure in ("r_log", "r_raw"))
    won, genes = np.mean([_ahead(one, two, form) for one, two in pairs], axis=0)
    return Comparison(
        _side(titles[0], [one for one, _ in pairs], form),
        _side(titles[1], [two for _, two in pairs], form),
        log[0],
        raw[0],
        log[1],
        float(won),
        float(genes),
        ceiling,
    )


def paired(mine: Sequence[Scores], theirs: Sequence[Scores]) -> list[tuple[Scores, Scores]]:
    """Return the scores of the folds both answered."""
    other = {scores.fold: scores for scores in theirs}
    return [(scores, other[scores.fold]) for scores in mine if scores.fold in other]


def share_ahead(mine: Sequence[Scores], theirs: Sequence[Scores], form: str) -> float:
    """Share of genes on which one has the higher r of logs, mean over folds; nan without any."""
    shares = []
    for one, two in paired(mine, theirs):
        won, genes = _ahead(one, two, form)
        shares += [won / genes] if genes else []
    return float(np.mean(shares)) if shares else np.nan


def counted(table: pd.DataFrame, figure: str) -> pd.Series:
    """Return a figure by gene; r of a constant prediction is 0, as it knows nothing."""
    values = table[figure]
    if figure not in ("r_log", "r_raw"):
        return values
    # The error in standard deviations is undefined only where the truth does not vary.
    return values.mask(values.isna() & table["rmse_sd"].notna(), 0.0)


def _ahead(one: Scores, two: Scores, form: str) -> tuple[float, int]:
    """Genes won in a fold, a tie counting half, and genes compared."""
    mine, theirs = (counted(s.table(answered(s, form)), "r_log") for s in (one, two))
    both = pd.concat([mine, theirs], axis=1, keys=["mine", "theirs"]).dropna()
    won = (both["mine"] > both["theirs"]).sum() + 0.5 * (both["mine"] == both["theirs"]).sum()
    return float(won), len(both)


def answered(scores: Scores, form: str) -> str:
    """Form in which a method answered where this one was asked."""
    return form if form in scores.forms else scores.forms[0]


def mean_interval(fold_scores: Sequence[Scores], form: str, figure: str) -> Interval:
    """Mean over folds of a method's median figure, with its bootstrap interval."""
    values = [one.summary[answered(one, form)][figure] for one in fold_scores]
    drawn = [one.draws[answered(one, form)][figure] for one in fold_scores]
    return interval(float(np.mean(values)), np.mean(drawn, axis=0))


def _side(title: str, fold_scores: Sequence[Scores], form: str) -> Side:
    r = {
        figure: float(np.mean([one.summary[answered(one, form)][figure] for one in fold_scores]))
        for figure in ("r_log", "r_raw")
    }
    return Side(title, r["r_log"], r["r_raw"])


def _differences(
    pairs: Sequence[tuple[Scores, Scores]], form: str, figure: str
) -> tuple[Interval, tuple[float, ...]]:
    """Mean difference of the medians with its paired interval, and the difference in each fold."""
    folds = tuple(one.minus(two, figure, form).value for one, two in pairs)
    drawn = [
        one.draws[answered(one, form)][figure] - two.draws[answered(two, form)][figure]
        for one, two in pairs
    ]
    return interval(float(np.mean(folds)), np.mean(drawn, axis=0)), folds


def _verdict(difference: Interval) -> Verdict:
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "alike"


def possible(ceiling: float) -> str:
    """Say what could be reached at best; nothing where that is unknown."""
    return f" of a possible {ceiling:.2f}" if np.isfinite(ceiling) and ceiling > 0 else ""


def told_apart(one: float, two: float) -> tuple[str, str]:
    """Write two figures with two decimals, or with three where two would make them equal."""
    short = f"{one:.2f}", f"{two:.2f}"
    return short if short[0] != short[1] else (f"{one:.3f}", f"{two:.3f}")


def inside(title: str) -> str:
    """Return a method's title as it stands inside a sentence: Square stays a name."""
    return f"our {title[4:]}" if title.startswith("Our ") else title


def lowered(title: str) -> str:
    """Return a baseline's title as it stands inside a sentence."""
    if title.startswith(_PROPER):
        return title
    ordinary = title[1:2].islower() and title[1:] == title[1:].lower()
    return title[:1].lower() + title[1:] if ordinary else inside(title)
