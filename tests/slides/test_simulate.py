import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from napari_stsr.errors import InputError
from napari_stsr.slides.simulate import Simulation, simulate, simulate_slide

SMALL = {"shape": (12, 14), "genes": 60}


@pytest.fixture(scope="module", params=["square", "hex"])
def simulation(request: pytest.FixtureRequest) -> Simulation:
    return simulate(lattice=request.param, **SMALL)


def test_spots_are_exact_sums_of_the_subspots_the_slide_itself_names(simulation):
    slide = simulation.slide
    targets = slide.subspots(simulation.parts)
    assert np.array_equal(targets.parent, simulation.parent)
    assert simulation.truth.shape == (len(targets), len(slide.genes))
    summed = np.zeros(slide.counts.shape, dtype=np.int64)
    np.add.at(summed, targets.parent, simulation.truth.toarray())
    assert np.array_equal(slide.counts.rows.toarray(), summed)
    assert slide.counts.totals.max() > 0


@pytest.mark.parametrize(
    ("lattice", "pitch", "parts"), [("square", 200, (9, 4, 16)), ("hex", 100, (7,))]
)
def test_the_lattice_is_the_one_asked_for(lattice, pitch, parts):
    for k in parts:
        simulation = simulate(lattice=lattice, parts=k, image=False, **SMALL)
        assert simulation.slide.lattice.kind == lattice
        assert simulation.slide.lattice.pitch_um == pytest.approx(pitch)
        assert simulation.parts == k
        assert len(simulation.domain) == k * len(simulation.slide)


def test_only_tissue_has_counts_and_the_tissue_has_a_border_and_a_hole(simulation):
    slide = simulation.slide
    assert (slide.counts.totals[~slide.in_tissue] == 0).all()
    assert (slide.counts.totals[slide.in_tissue] > 0).all()
    outside = (simulation.domain < 0).reshape(len(slide), -1)
    assert np.array_equal(outside.all(axis=1), ~slide.in_tissue)
    assert (simulation.mean[simulation.domain < 0] == 0).all()
    whole = simulate_slide(tissue=False, image=False, **SMALL)
    assert whole.in_tissue.all()
    # The hole: empty spots that no border touches.
    large = simulate_slide(image=False, genes=5)
    empty = large.coordinates[~large.in_tissue]
    middle = np.ptp(large.coordinates, axis=0) / 2 + large.coordinates.min(axis=0)
    assert (np.abs(empty - middle).max(axis=1) < 0.6 * (middle - empty.min(axis=0)).max()).any()


def test_the_stain_lies_under_the_spots_to_the_pixel(simulation):
    slide = simulation.slide
    picture = np.asarray(slide.image.levels[0])
    column, row = np.rint(slide.coordinates_px).astype(int).T
    assert picture.shape[0] > row.max()
    assert picture.shape[1] > column.max()
    # White paper is neutral; the stains take green away.
    parts = slide.subspots(simulation.parts).coordinates / slide.scale.um_per_px
    column, row = np.rint(parts[simulation.domain >= 0]).astype(int).T
    assert (picture[row, column, 1] < 243).all()
    assert (picture[0] > 240).all()
    assert (picture[:, 0] > 240).all()


def test_domains_show_in_the_stain():
    simulation = simulate(domains=4)
    slide = simulation.slide
    picture = np.asarray(slide.image.levels[0]).astype(float)
    column, row = np.rint(slide.coordinates_px).astype(int).T
    darkness = np.array(
        [255 - picture[r - 40 : r + 40, c - 40 : c + 40].mean() for r, c in zip(row, column)]
    )
    names = slide.annotations["domain"].to_numpy()
    groups = [darkness[(names == name) & slide.in_tissue] for name in set(names) - {""}]
    between = np.var([group.mean() for group in groups])
    within = np.mean([group.var() for group in groups])
    assert between > within


def test_same_seed_same_slide_and_another_seed_another():
    first, again, other = (simulate(seed=seed, **SMALL) for seed in (3, 3, 4))
    assert (first.truth != again.truth).nnz == 0
    assert np.array_equal(first.mean, again.mean)
    pictures = [np.asarray(s.slide.image.levels[0]) for s in (first, again)]
    assert np.array_equal(*pictures)
    assert (first.truth != other.truth).nnz > 0
    blind = simulate(seed=3, image=False, **SMALL)
    assert blind.slide.image is None
    assert (first.truth != blind.truth).nnz == 0


@pytest.mark.parametrize("preset", ["slides_like", "realistic"])
def test_counts_scatter_around_the_mean_as_the_model_says(preset):
    simulation = simulate(preset, tissue=False, image=False, genes=400, seed=1)
    truth, mean = simulation.truth.toarray(), simulation.mean
    assert truth.sum() == pytest.approx(mean.sum(), rel=0.02)
    # Second moment of a negative binomial of size 1 with a log-normal library, some of it lost.
    kept = 0.9
    ordinary = mean.astype(float) / kept / np.exp(0.2**2 / 2)
    second = mean + 2 * kept * ordinary**2 * np.exp(2 * 0.2**2)
    spread = (second - mean.astype(float) ** 2).mean()
    assert ((truth - mean) ** 2).mean() == pytest.approx(spread, rel=0.1)


def test_slides_like_leaves_a_uniform_split_the_score_known_from_the_paper():
    simulation = simulate("slides_like", tissue=False, image=False, shape=(12, 12), domains=4)
    truth = simulation.truth.toarray()
    even = np.repeat(simulation.slide.counts.rows.toarray(), simulation.parts, axis=0)
    distance = [1 - spearmanr(a, b).statistic for a, b in zip(truth[::7], even[::7])]
    assert np.mean(distance) == pytest.approx(0.38, abs=0.02)


def test_markers_are_on_in_their_own_domain_only():
    simulation = simulate(tissue=False, image=False, genes=200)
    genes = simulation.slide.genes
    for domain in range(6):
        marker = genes.column(f"MARK{domain + 1}A")
        level = [simulation.mean[simulation.domain == d, marker].mean() for d in range(6)]
        others = np.delete(level, domain)
        assert np.median(others) < level[domain]
    assert genes.ids[0] == "SIM001"


def test_domain_borders_cross_spots():
    simulation = simulate(tissue=False, image=False, genes=5)
    inside = simulation.domain.reshape(len(simulation.slide), -1)
    mixed = (inside != inside[:, :1]).any(axis=1)
    assert 0.02 < mixed.mean() < 0.6


@settings(max_examples=15, deadline=None)
@given(
    lattice=st.sampled_from(["square", "hex"]),
    shape=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    domains=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_any_size_simulates(lattice, shape, domains, seed):
    simulation = simulate(
        "realistic", lattice, shape, 12, seed, domains=domains, tissue=False, image=False
    )
    assert simulation.slide.counts.shape == (shape[0] * shape[1], 12)
    assert simulation.slide.lattice.kind == lattice
    assert set(np.unique(simulation.domain)) <= set(range(domains))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"preset": "real"}, "'real'"),
        ({"lattice": "none"}, "'none'"),
        ({"shape": (3, 9)}, "(3, 9)"),
        ({"genes": 0}, "genes = 0"),
        ({"domains": 0}, "domains = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"parts": 5}, "5 subspots"),
        ({"lattice": "hex", "parts": 6}, "6 parts"),
        ({"lattice": "hex", "parts": 9}, "9 subspots"),
    ],
)
def test_bad_arguments_are_refused_with_their_value(arguments, said):
    with pytest.raises(InputError) as refusal:
        simulate(**arguments)
    assert said in refusal.value.what
    assert refusal.value.remedy
