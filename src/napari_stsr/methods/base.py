"""The contract every method obeys, built-in or third-party."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.methods.parameters import Params
from napari_stsr.results import Enhancement, Expression
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run

Family = Literal["method", "baseline", "peer"]


@dataclass(frozen=True)
class Estimate:
    """Memory and time a fit and its prediction will take, before they start."""

    memory_bytes: int
    seconds: float

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        time = f"{minutes} min {seconds:02d} s" if minutes else f"{max(seconds, 1)} s"
        return f"about {time}, {self.memory_bytes / 1e9:.1f} GB"


class Fitted(ABC):
    """What a method has learned from a slide."""

    @abstractmethod
    def predict(self, targets: Targets, run: Run | None = None) -> Enhancement:
        """Predict expression at targets; checks `run.cancel` as it goes."""

    def predicting(
        self, targets: Targets, run: Run | None = None
    ) -> Generator[Progress, None, Enhancement]:
        """Predict with reports on the way; a method that takes long here reports its steps."""
        yield Progress("predicting", 0, 1, 1.0)
        return self.predict(targets, run)

    @abstractmethod
    def at(self, places: NDArray[np.float64], run: Run | None = None) -> Expression:
        """Expected counts of a whole location centred at each place: the field itself.

        They do not depend on how densely places are asked for, and are not conserved.

        Parameters
        ----------
        places : (m, 2) float array
            Centres (x, y) in µm; anywhere, also inside measured locations.
        run : Run, optional
            Its `cancel` is checked on the way.

        Returns
        -------
        Expression
            (m, g), lazy in genes.

        Raises
        ------
        InputError
            When places are no finite (x, y) pairs.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write everything needed to predict again, complete or not at all."""


class Method(ABC):
    """A way to predict expression where it was not measured.

    Attributes
    ----------
    name : str
        Key in the registry and on the command line.
    title, summary, paper : str
        For the method's card: name, one sentence, reference.
    needs : tuple of str
        Of ``"counts"``, ``"lattice"``, ``"image"``, ``"several slides"``.
    gives : tuple of str
        Of ``"expression"``, ``"attention"``, ``"uncertainty"``, ``"domains"``.
    family : {"method", "baseline", "peer"}
        A method of ours, a simple baseline to judge it by, or our implementation of another
        published method.
    params : type
        A subclass of `Params`.
    presets : mapping
        ``"fast"``, ``"paper"``, ``"auto"``, perhaps others: the values each sets.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    gives: ClassVar[tuple[str, ...]]
    family: ClassVar[Family] = "method"
    params: ClassVar[type[Params]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    def parameters(self, preset: str = "auto", values: Mapping[str, Any] | None = None) -> Params:
        """Parameters of a preset with some values changed.

        Raises
        ------
        InputError
            For an unknown preset or parameter, or a value out of range.
        """
        if preset not in self.presets:
            raise InputError(
                f"{self.title} has no preset {preset!r}.", f"Presets: {', '.join(self.presets)}."
            )
        return self.params().changed({**self.presets[preset], **(values or {})})

    @abstractmethod
    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse at the door what cannot work.

        Raises
        ------
        InputError
            With what is missing and the remedy.
        """

    @abstractmethod
    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time, told before the start; fast enough to call on every edit of a form."""

    @abstractmethod
    def fit(
        self, slide: Slide, params: Params, run: Run, genes: NDArray[np.int64] | None = None
    ) -> Generator[Progress, None, Fitted]:
        """Learn from a slide, reporting on the way; the generator's return value is the fit.

        Parameters
        ----------
        slide : Slide
        params : Params
        run : Run
        genes : int array, optional
            Gene columns to predict, in this order (all by default). The method may learn from
            others too.
        """

    @abstractmethod
    def load(self, path: Path) -> Fitted:
        """Read what `Fitted.save` wrote."""
