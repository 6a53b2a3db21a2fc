"""Predictions computed once: what is asked of the method, and what comes out."""

import numpy as np
import pytest

from napari_stsr.errors import Cancelled
from napari_stsr.evaluation import materialised as module
from napari_stsr.evaluation.materialised import materialised
from napari_stsr.results.expression import (
    LoggedExpression,
    ScaledExpression,
    SelectedExpression,
    StoredExpression,
)
from napari_stsr.training import CancelToken

RNG = np.random.default_rng(0)
LOGS = RNG.normal(2, 1, (12, 30)).astype(np.float32)
DEPTH, SHARE = RNG.uniform(500, 900, 12), RNG.uniform(0.1, 0.9, 12)
EVERY = np.arange(30)


class Asked(StoredExpression):
    """Logs that remember which genes they were asked for."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values)
        object.__setattr__(self, "genes", [])

    def columns(self, genes: np.ndarray) -> np.ndarray:
        self.genes.extend(genes.tolist())
        return super().columns(genes)


@pytest.mark.parametrize("scaled", [False, True])
def test_logs_are_computed_once_and_counts_follow_from_them(monkeypatch, scaled):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 12 * 7)
    asked = Asked(LOGS)
    source = LoggedExpression(asked, DEPTH)
    source = ScaledExpression(source, SHARE) if scaled else source
    found = materialised(source, CancelToken())
    counts, logs = found.columns(EVERY), found.logs(EVERY)
    assert sorted(asked.genes) == EVERY.tolist()
    np.testing.assert_array_equal(counts, source.columns(EVERY))
    np.testing.assert_array_equal(logs, LOGS)


def test_any_other_source_of_logs_is_kept_as_counts_and_logs():
    source = SelectedExpression(LoggedExpression(StoredExpression(LOGS), DEPTH), np.array([5, 1]))
    found = materialised(source, CancelToken()).take(np.array([1]))
    np.testing.assert_array_equal(found.columns(EVERY), source.columns(EVERY)[[1]])
    np.testing.assert_array_equal(found.logs(EVERY), LOGS[[1]])


def test_what_does_not_fit_stays_lazy_and_a_stop_is_obeyed(monkeypatch):
    source, token = LoggedExpression(StoredExpression(LOGS), DEPTH), CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        materialised(source, token)
    monkeypatch.setattr(module, "_MOST_VALUES", 100)
    assert materialised(source, token) is source
