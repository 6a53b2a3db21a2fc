from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from napari_stsr.errors import InputError
from napari_stsr.results import writers
from napari_stsr.results.writers import export
from tests.results.made import UM_PER_PX, enhancement


def test_the_table_has_a_row_per_target_and_provenance_beside_it(tmp_path):
    one = enhancement("points")
    export(one, tmp_path / "r.csv", genes=["MBP", "ENSG4"])
    table = pd.read_csv(tmp_path / "r.csv", keep_default_na=False, float_precision="round_trip")
    head = ["target_id", "x_um", "y_um", "x_px", "y_px", "parent", "in_tissue", "supported"]
    assert table.columns.tolist() == [*head, "ENSG2", "ENSG4"]
    assert table["target_id"].tolist() == list("gfedcba")
    np.testing.assert_array_equal(table[["x_um", "y_um"]], one.targets.coordinates)
    np.testing.assert_allclose(table["x_px"] * UM_PER_PX, table["x_um"])
    assert table["supported"].tolist() == one.supported.tolist()
    assert set(table["parent"]) == {""}
    np.testing.assert_allclose(table[["ENSG2", "ENSG4"]], one.expression(["MBP", "ENSG4"]), 1e-6)
    record = json.loads((tmp_path / "r.provenance.json").read_text(encoding="utf-8"))
    assert record["kind"] == "predicted"
    assert record["params"] == one.provenance["params"]
    assert record["columns"] == {"ENSG2": "MBP", "ENSG4": "TWIN"}


def test_more_than_a_table_can_hold_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_MOST_VALUES", 300)
    one = enhancement()
    with pytest.raises(InputError, match="140 targets × 5 genes"):
        export(one, tmp_path / "r.csv")
    export(one, tmp_path / "r.csv", genes=["MBP"])
    export(one, tmp_path / "r.h5ad")
