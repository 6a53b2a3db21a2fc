"""Every exact speed-up gives the numbers of the plain formula, in float64."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn

from napari_stsr.methods import get_method
from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.suica import stages
from napari_stsr.methods.suica.autoencoder import Decoder, GraphAutoencoder
from napari_stsr.methods.suica.backbones import Backbone, FourierField, HashGrid, Siren
from napari_stsr.methods.suica.ensemble import Ensemble
from napari_stsr.methods.suica.graph import Summed, nearest_graph
from napari_stsr.methods.suica.lesson import Lesson
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.methods.suica.published_loss import DICE_WEIGHT, PublishedTargets
from napari_stsr.slides.simulate import simulate
from tests.methods.suica import plain

_MIDDLE = torch.tensor([500.0, 300.0])
_REACH = 400.0


def _pairs() -> list[tuple[str, Backbone, nn.Module]]:
    """Ours and the plain network of each backbone, with the same weights."""
    torch.manual_seed(0)
    ffn = FourierField(_MIDDLE, _REACH, 7, 24, 3.0, features=10).double()
    plain_ffn = plain.FFN(7, 24, 10, 3.0, dtype=torch.float64)
    plain_ffn.B = ffn.frequencies
    _same(plain_ffn, [ffn.first, *ffn.linear, ffn.last])
    siren = Siren(_MIDDLE, _REACH, 7, 24).double()
    plain_siren = plain.SIREN(7, 24, dtype=torch.float64)
    _same(plain_siren, [siren.first, *siren.hidden, siren.last])
    ngp = HashGrid(_MIDDLE, _REACH, 7, 16, levels=9, entries=2**10).double()
    plain_ngp = plain.NGP(7, 16, 9, 2, 10, dtype=torch.float64)
    _same(plain_ngp, [layer for layer in ngp.network if isinstance(layer, nn.Linear)])
    with torch.no_grad():
        ngp.table.normal_()
        for level, table in enumerate(plain_ngp.tables):
            table.copy_(ngp.table[level * 2**10 : level * 2**10 + len(table)])
    return [("ffn", ffn, plain_ffn), ("siren", siren, plain_siren), ("ngp", ngp, plain_ngp)]


def _same(network: nn.Module, layers: list[nn.Module]) -> None:
    for theirs, ours in zip(network.layers, layers, strict=True):  # type: ignore[arg-type]
        theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("many", [50, 5])  # more than the outputs, and fewer
@pytest.mark.parametrize("which", [0, 1, 2], ids=["ffn", "siren", "ngp"])
def test_a_backbone_says_what_the_plain_network_says(which: int, many: int) -> None:
    _, ours, theirs = _pairs()[which]
    places = _MIDDLE.double() + _REACH * (2 * torch.rand(many, 2, dtype=torch.float64) - 1)
    said = ours(*ours.encode(places))
    expected = theirs((places - _MIDDLE) / _REACH)
    torch.testing.assert_close(said, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("many", [50, 5])  # more than the outputs, and fewer
@pytest.mark.parametrize("which", [0, 1, 2], ids=["ffn", "siren", "ngp"])
def test_a_backbone_learns_as_the_plain_network_does(which: int, many: int) -> None:
    _, ours, theirs = _pairs()[which]
    places = _MIDDLE.double() + _REACH * (2 * torch.rand(many, 2, dtype=torch.float64) - 1)
    z = torch.randn(many, 7, dtype=torch.float64)
    plain.embedding_loss(ours(*ours.encode(places)), z).backward()
    plain.embedding_loss(theirs((places - _MIDDLE) / _REACH), z).backward()
    mine = [p.grad for name, p in ours.named_parameters() if name != "table"]
    layers = [p.grad for layer in cast(nn.ModuleList, theirs.layers) for p in layer.parameters()]
    for one, other in zip(mine, layers, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["ffn", "siren", "ngp"])
def test_places_are_seen_in_full_precision_whatever_the_products_are_in(which: int) -> None:
    ensemble = Ensemble([_pairs()[which][1].float()])
    places = _MIDDLE + _REACH * (2 * torch.rand(50, 2) - 1)
    expected = ensemble.encode(places)[0]
    with torch.autocast("cpu", torch.bfloat16):
        said = ensemble.encode(places)[0]
    for one, other in zip(said, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_summing_neighbours_first_is_the_graph_layer() -> None:
    rng = np.random.default_rng(1)
    x = sparse.random(40, 12, 0.4, format="csr", rng=rng)
    places = rng.random((40, 2))
    logs = x.copy()
    logs.data = np.log1p(logs.data)
    graph = nearest_graph(places, 5).astype(np.float64)
    edges = plain.neighbour_edges(torch.from_numpy(places), 5)
    np.testing.assert_array_equal(graph.toarray(), plain.adjacency(edges, 40).numpy())
    ours = GraphAutoencoder(12, 4, (16, 8)).double()
    theirs = plain.Encoder(12, (16, 8, 4), torch.float64)
    theirs.graph_layer.load_state_dict(ours.graph_layer.state_dict())
    theirs.norm.load_state_dict(ours.norm.state_dict())
    linear = [layer for layer in ours.layers if isinstance(layer, nn.Linear)]
    for layer, own in zip(theirs.layers, linear, strict=True):
        layer.load_state_dict(own.state_dict())
    dense = torch.from_numpy(x.toarray())
    for whole in (True, False):
        summed = Summed(graph, logs, whole)
        said = ours.encode(*(part.double() for part in summed.rows(np.arange(40), dense.device)))
        torch.testing.assert_close(said, theirs(dense, edges), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("whole", [True, False], ids=["kept rows", "summed anew"])
def test_a_batch_normalises_over_its_neighbours_as_the_published_loader(whole: bool) -> None:
    rng = np.random.default_rng(4)
    x = sparse.random(60, 12, 0.4, format="csr", rng=rng)
    places, batch = rng.random((60, 2)), rng.permutation(60)[:9]
    logs = x.copy()
    logs.data = np.log1p(logs.data)
    ours = GraphAutoencoder(12, 4, (16, 8)).double()
    theirs = plain.Encoder(12, (16, 8, 4), torch.float64)
    with torch.no_grad():
        for own, other in zip(theirs.parameters(), ours.parameters()):
            own.copy_(other)
    summed = Summed(nearest_graph(places, 5).astype(np.float64), logs, whole)
    rows = (part.double() for part in summed.loaded(batch, torch.device("cpu")))
    said = ours.encode(*rows, first=len(batch))
    edges = plain.neighbour_edges(torch.from_numpy(places), 5)
    loaded, among = plain.truncated(edges, torch.from_numpy(batch), 60)
    expected = theirs(torch.from_numpy(x.toarray())[loaded], among)[: len(batch)]
    torch.testing.assert_close(said, expected, rtol=1e-10, atol=1e-11)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours.norm, name), getattr(theirs.norm, name))
    said.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(
        ours.graph_layer.weight.grad, theirs.graph_layer.weight.grad, rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("at_once", [10**6, 3 * 9], ids=["one chunk", "many chunks"])
@pytest.mark.parametrize("dice", [True, False])
def test_the_published_loss_needs_no_dense_targets(at_once: int, dice: bool) -> None:
    torch.manual_seed(2)
    y = sparse.random(20, 9, 0.3, format="csr", rng=np.random.default_rng(3))
    decoder = Decoder(5, (8,), 9).double()
    with torch.no_grad():
        cast(nn.Linear, decoder.layers[0]).bias[3] = -50.0  # a silent unit
        decoder.output.bias[6] = -50.0  # a silent gene
    theirs = plain.Decoder(9, (8, 5), torch.float64)
    theirs.layers[0].load_state_dict(cast(nn.Linear, decoder.layers[0]).state_dict())
    theirs.layers[1].load_state_dict(decoder.output.state_dict())
    z = torch.randn(20, 5, dtype=torch.float64)
    targets = _Doubled(y, at_once)
    weight, bias = decoder.output.weight, decoder.output.bias
    loss = targets.sums(lambda rows: decoder.hidden(z[rows]), weight, bias, dice).loss(
        DICE_WEIGHT if dice else 0.0
    )
    expected = plain.decoder_loss(
        theirs(z), torch.from_numpy(y.toarray()), DICE_WEIGHT if dice else 0.0
    )
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
    loss.backward()
    expected.backward()
    for one, other in zip(_gradients(decoder), _gradients(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


class _Doubled(PublishedTargets):
    """Targets in float64, as the plain formula has them."""

    def batch(self, rows: slice, device: torch.device) -> SparseBatch:
        made = super().batch(rows, device)
        exact = torch.from_numpy(self.targets[rows].data)
        return SparseBatch(made.row, made.column, exact, made.rows, made.columns)


def _gradients(module: nn.Module) -> list[Tensor]:
    return [cast(Tensor, parameter.grad) for parameter in module.parameters()]


def test_the_published_preparation_filters_and_scales() -> None:
    slide = simulate("realistic", "square", (9, 9), 40, 4, image=False, tissue=False).slide
    counts = slide.counts.rows.toarray()
    counts[3] = 0
    counts[3, 5] = 50  # too few counts
    counts[:, 7] = 0
    counts[8, 7] = 2  # too rare a gene
    counts[9, 11] = 900  # too high a gene
    slide = slide.with_counts(type(slide.counts)(sparse.csr_matrix(counts)))
    expected = plain.prepared(torch.from_numpy(counts.astype(np.float64)))
    params = get_method("suica").parameters("paper")
    assert isinstance(params, SuicaParams)
    lesson = Lesson.of(slide, Measured.of(slide), params, 0)
    np.testing.assert_array_equal(lesson.rows, np.flatnonzero(expected.locations.numpy()))
    np.testing.assert_array_equal(lesson.genes, np.flatnonzero(expected.genes.numpy()))
    np.testing.assert_allclose(lesson.values.toarray(), expected.expression.numpy(), rtol=1e-6)


def _lesson() -> Lesson:
    slide = simulate("realistic", "square", (12, 12), 40, 3, image=False, tissue=False).slide
    params = get_method("suica").parameters("paper")
    assert isinstance(params, SuicaParams)
    return Lesson.of(slide, Measured.of(slide), params, 0)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["ffn", "siren", "ngp"])
@pytest.mark.parametrize("stage", ["embedding", "frozen", "together"])
@pytest.mark.parametrize("at_once", [10_000, 25])  # all locations, and chunks of them
def test_a_published_step_is_that_of_the_plain_loss(
    which: int, stage: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "FIELD_CHUNK", at_once)
    monkeypatch.setattr(stages, "DEEP_CHUNK", at_once)
    lesson, ensemble = _lesson(), Ensemble([_pairs()[which][1]])
    decoder = Decoder(7, (16,), len(lesson.genes)).double()
    z = torch.randn(1, len(lesson), 7, dtype=torch.float64)
    trained: list[nn.Module] = {
        "embedding": [ensemble],
        "frozen": [decoder],
        "together": [ensemble, decoder],
    }[stage]
    said = ensemble(ensemble.encode(torch.from_numpy(lesson.places.astype(np.float32))))[0]
    training: nn.Module
    if stage == "embedding":
        training = stages.EmbeddingTraining(ensemble, lesson, z)
        plainly = plain.embedding_loss(said, z[0])
    else:
        together = stage == "together"
        training = stages.PublishedTraining(ensemble, decoder, lesson, True, together)
        y = torch.from_numpy(lesson.values.toarray()).double()
        plainly = plain.decoder_loss(torch.relu(decoder(said)), y, DICE_WEIGHT)
    weights = [weight for module in trained for weight in module.parameters()]
    loss = training(torch.arange(len(lesson)), np.random.default_rng(0))
    torch.testing.assert_close(loss, plainly, rtol=1e-12, atol=0)
    expected = torch.autograd.grad(plainly, weights)
    for one, other in zip(torch.autograd.grad(loss, weights), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)
