"""Genes are found by id and symbol, as people type them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.slides import Genes

GENES = Genes(
    np.array(["ENSG1", "ENSG2", "ENSG3", "ENSG4", "ENSG5"]),
    np.array(["ERBB2", "ERBB3", "MBP", "MBP", ""]),
)


def test_a_gene_is_found_by_id_or_symbol_in_any_case() -> None:
    assert GENES.columns(["erbb3", " ENSG3 ", "Mbp"]).tolist() == [1, 2, 2]
    assert GENES.column("ensg4") == 3
    assert GENES.label(4) == "ENSG5"


def test_an_unknown_gene_is_refused_with_close_names() -> None:
    with pytest.raises(InputError, match=r"no gene named 'ERBB22'.*ERBB2"):
        GENES.column("ERBB22")


def test_search_ranks_exact_names_first() -> None:
    assert GENES.search("ERBB2")[0] == 0
    assert set(GENES.search("bb").tolist()) == {0, 1}
    assert GENES.search("ensg", limit=3).size == 3
    assert GENES.search("nothing").size == 0


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(InputError, match="ids repeat"):
        Genes(np.array(["A", "A"]), np.array(["a", "b"]))
