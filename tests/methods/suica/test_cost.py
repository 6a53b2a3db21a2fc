"""What a fit is told to cost: more for more work, nothing for parts that are left out."""

from __future__ import annotations

from typing import Any

import pytest

from napari_stsr.methods import get_method
from napari_stsr.methods.base import Estimate
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate_slide


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate_slide("realistic", "hex", (30, 40), 300, seed=0, image=False)


def told(slide: Slide, preset: str, **values: Any) -> Estimate:
    """Estimate of a fit and its prediction at the locations."""
    method = get_method("suica")
    return method.estimate(slide, slide.locations(), method.parameters(preset, values))


@pytest.mark.parametrize(
    ("preset", "less", "more"),
    [
        ("auto", {"members": 2}, {"members": 5}),
        ("auto", {"mix": "off"}, {}),
        ("auto", {"decoder_steps": 100, "patience": 0}, {"decoder_steps": 900, "patience": 0}),
        ("auto", {"variable_genes": 100}, {"variable_genes": 300}),
        ("auto", {"ablation": "autoencoder"}, {}),
        ("paper", {"stride": 4}, {"stride": 1}),
        ("paper", {"width": 256}, {"width": 2048}),
        ("paper", {"backbone": "ffn"}, {"backbone": "siren"}),
        ("paper", {"backbone": "ngp"}, {"backbone": "siren"}),
        ("paper", {"ablation": "graph"}, {}),
        ("vanilla", {"backbone": "ffn"}, {"backbone": "siren"}),
    ],
)
def test_more_work_is_told_to_take_longer(
    slide: Slide, preset: str, less: dict[str, Any], more: dict[str, Any]
) -> None:
    assert told(slide, preset, **less).seconds < told(slide, preset, **more).seconds


@pytest.mark.parametrize("preset", ["auto", "vanilla"])
def test_what_trains_without_an_autoencoder_has_no_longer_stride(slide: Slide, preset: str) -> None:
    once, four = (
        told(slide, preset, ablation="autoencoder", stride=stride).seconds for stride in (1, 4)
    )
    assert once == four


def test_deep_and_wide_fields_are_told_to_need_memory(slide: Slide) -> None:
    """Every sine layer leaves what goes into the sine and what comes out, four bytes each."""
    wide, narrow = (told(slide, "vanilla", width=width).memory_bytes for width in (2048, 256))
    assert wide - narrow > 24 * 4 * len(slide) * (2048 - 256)


def test_a_preset_costs_less_than_the_one_above(slide: Slide) -> None:
    seconds = [told(slide, preset).seconds for preset in ("fast", "auto", "paper", "vanilla")]
    assert seconds == sorted(seconds)
