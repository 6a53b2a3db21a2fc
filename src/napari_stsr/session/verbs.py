"""What a script does with a slide: each verb waits for its result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement
from napari_stsr.session.models import Model
from napari_stsr.session.plan import Plan
from napari_stsr.slides import Slide
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome


def enhance(
    slide: Slide,
    method: str = "square",
    preset: str = "auto",
    *,
    run: Run | None = None,
    **plan: Any,
) -> Enhancement:
    """Enhance a slide and wait for the result.

    Parameters
    ----------
    slide : Slide
    method, preset : str
    run : Run, optional
        Seed, device, cancel token, checkpoints.
    **plan
        Any other field of `Plan`: ``values``, ``genes``, ``subspots``, ``grid_um``, ``at``,
        ``region``, ``halo_pitches``.

    Returns
    -------
    Enhancement

    Examples
    --------
    >>> from napari_stsr import enhance, simulate_slide
    >>> result = enhance(simulate_slide(), preset="fast")        # doctest: +SKIP
    """
    return outcome(Plan(method, preset, **plan).enhancing(slide, run or Run()))


def denoise(
    slide: Slide,
    method: str = "square",
    preset: str = "auto",
    *,
    run: Run | None = None,
    **plan: Any,
) -> Enhancement:
    """Predict at the measured locations themselves: the counts a method expects there.

    Parameters
    ----------
    slide : Slide
    method, preset : str
    run : Run, optional
    **plan
        ``values``, ``genes``, ``region``, ``halo_pitches`` of `Plan`.

    Returns
    -------
    Enhancement
        One target a location, named by its barcode; all of it is predicted.

    Examples
    --------
    >>> from napari_stsr import denoise, simulate_slide
    >>> result = denoise(simulate_slide(), "kernel")             # doctest: +SKIP
    """
    return enhance(slide, method, preset, run=run, task="denoise", **plan)


def impute(
    slide: Slide,
    method: str = "square",
    preset: str = "auto",
    *,
    run: Run | None = None,
    **plan: Any,
) -> Enhancement:
    """Fill in genes: keep every count above zero, predict where zero was measured.

    Parameters
    ----------
    slide : Slide
    method, preset : str
    run : Run, optional
    **plan
        As `denoise`.

    Returns
    -------
    Enhancement
        Its expression mixes measured and predicted, and its `kind` says so; `denoised` holds the
        prediction alone. An entry is predicted where the slide's own count is zero.

    Examples
    --------
    >>> from napari_stsr import impute, simulate_slide
    >>> result = impute(simulate_slide(), "kernel")              # doctest: +SKIP
    """
    return enhance(slide, method, preset, run=run, task="impute", **plan)


def fit(
    slide: Slide,
    method: str = "square",
    preset: str = "auto",
    *,
    run: Run | None = None,
    **plan: Any,
) -> Model:
    """Fit a method to a slide, to predict by it more than once or to save it.

    Parameters
    ----------
    slide : Slide
    method, preset : str
    run : Run, optional
    **plan
        ``values``, ``genes``, ``region``, ``halo_pitches`` of `Plan`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from napari_stsr import fit, predict, save_model, simulate_slide
    >>> model = fit(simulate_slide(), "kernel")                  # doctest: +SKIP
    >>> save_model(model, "kernel.stsr")                         # doctest: +SKIP
    >>> fine = predict(model, grid_um=20)                        # doctest: +SKIP
    """
    made = Plan(method, preset, **plan)
    if slide.lattice.kind == "none" and made.at is None and made.grid_um is None:
        # Nothing is predicted yet, and single cells have no parts to check the method by.
        made = replace(made, at=slide.locations())
    return outcome(made.fitting(slide, run or Run()))


def predict(
    model: Model, slide: Slide | None = None, *, run: Run | None = None, **plan: Any
) -> Enhancement:
    """Predict by a model, without training.

    Parameters
    ----------
    model : Model
        From `fit` or `load_model`.
    slide : Slide, optional
        The slide it learned from, opened again: it must be named to fill in genes, and for a
        region the tissue around then counts as tissue.
    run : Run, optional
        The seed of the fit by default.
    **plan
        ``genes``, ``subspots``, ``grid_um``, ``at``, ``region``, ``task`` of `Plan`.

    Returns
    -------
    Enhancement
        Its provenance names the model, its file, and how it was fitted.

    Raises
    ------
    InputError
        When the model knows not the genes asked, or learned from another slide.
    """
    chosen = Plan(model.method, str(model.fit["preset"]), **plan)
    if slide is None and chosen.task == "impute":
        raise InputError(
            "Filling in genes keeps what was measured, which a model does not hold.",
            "Name the slide as well.",
        )
    return outcome(chosen.predicting(slide or model.slide, model, run or Run(seed=model.seed)))
