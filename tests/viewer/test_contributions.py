import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer

from napari_stsr import export
from napari_stsr.errors import InputError
from napari_stsr.viewer.contributions import (
    get_reader,
    sample_simulated,
    write_measured,
    write_result,
)
from napari_stsr.viewer.desk import desk_of
from tests.results.made import enhancement


def names(layers) -> list[str]:
    return [attributes["name"] for _, attributes, _ in layers]


def test_a_folder_that_is_no_slide_is_left_to_other_readers(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path), str(tmp_path)]) is None


def test_a_slide_folder_becomes_layers(data):
    path = str(data("her2st_C3/spaceranger_like"))
    assert names(get_reader(path)(path)) == ["H&E", "Tissue outline", "Total counts · measured"]


def test_a_slide_dropped_on_the_canvas_reaches_the_panels(window, data):
    path = str(data("her2st_C3/spaceranger_like"))
    window.viewer.open(path, plugin="napari-stsr")
    window.wait(lambda: window.desk.slide is not None)
    assert "her2st_C3" in window.slide.headline.text()
    window.wait(lambda: len(window.viewer.layers) == 3)


def test_the_sample_reaches_panels_opened_later(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(strict_qt=True)
    desk = desk_of(viewer)
    for layer in sample_simulated():
        viewer.add_layer(Layer.create(*layer))
    assert desk.slide is not None
    assert desk.slide.kind == "simulated"
    desk.close()


def test_an_exported_result_comes_back_as_a_layer_and_can_be_saved_again(tmp_path):
    result = enhancement()
    export(result, tmp_path / "a.h5ad")
    path = str(tmp_path / "a.h5ad")
    (layer,) = get_reader(path)(path)
    assert "enhanced" in layer[1]["name"]
    made = Layer.create(*layer)
    write_result(str(tmp_path / "b.csv"), made.data, made.as_layer_data_tuple()[1])
    assert len(pd.read_csv(tmp_path / "b.csv")) == len(result)


def test_a_layer_of_something_else_is_not_saved_as_a_result(tmp_path):
    with pytest.raises(InputError, match="shows no enhancement"):
        write_result(str(tmp_path / "x.h5ad"), np.zeros((3, 3)), {"name": "photo", "metadata": {}})
    assert not (tmp_path / "x.h5ad").exists()


def test_measured_points_are_saved_in_micrometres(opened, tmp_path):
    layer = opened.desk.scene.layer("measured")
    path = str(tmp_path / "spots.csv")
    write_measured(path, layer.data, layer.as_layer_data_tuple()[1])
    table, slide = pd.read_csv(path), opened.desk.slide
    np.testing.assert_allclose(table[["x_um", "y_um"]], slide.coordinates)
    assert table["barcode"].tolist() == slide.barcodes.tolist()
    np.testing.assert_allclose(table["Total counts · measured"], slide.counts.totals)
