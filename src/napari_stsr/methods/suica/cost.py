"""What a fit of SUICA and its prediction cost, told before they start.

Constants are times of one processor core, measured on real sections of 187 to 6,509 locations and
on simulated slides of 121,756 and 700,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from napari_stsr.methods.kernel_pair import KernelPair
from napari_stsr.methods.suica.params import (
    DEEP_CHUNK,
    FEATURES,
    FIELD_CHUNK,
    LINEAR_LAYERS,
    MOST_DECODED,
    PASSES,
    SINE_LAYERS,
    SINE_LAYERS_ALONE,
    VALIDATE_EVERY,
    SuicaParams,
)
from napari_stsr.slides import Slide

# Floating-point operations a second of the published stages, which leave silent genes out, and what
# a step costs besides.
_SPEED, _STEP_S = 8e10, 8e-3
# Passes over the slide to the best validation.
_PASSES_TO_BEST = 100
# What a place costs in the hash grid and its small layers, in weights of a dense layer.
_GRID = 20_000.0


@dataclass(frozen=True)
class Cost:
    """Sizes that decide memory and time.

    Parameters
    ----------
    slide : Slide
    targets : int
    params : SuicaParams
    """

    slide: Slide
    targets: int
    params: SuicaParams

    @property
    def seconds(self) -> float:
        """Time to fit and to predict, on one processor core."""
        n, stored = len(self.slide), self.slide.counts.nnz
        work = self._published() if self.params.published else self._counted()
        return 3 + 2.8e-5 * n + 6.4e-8 * stored + work

    @property
    def memory(self) -> float:
        """Bytes at the peak."""
        p, n, stored = self.params, len(self.slide), self.slide.counts.nnz
        learned = min(1.0, 2 * self._genes / len(self.slide.genes))
        memory = 700e6 + 12.0 * stored * (1 + learned) + 4.0 * min(n * self._genes, 250e6)
        memory += 32.0 * self._codec + 4.0 * self.targets * p.hidden * (1 + p.members)
        if not p.published:
            return memory + 12.0 * p.members * self._batch * self._genes
        # Layers of the field whose values the step back needs, and their gradients; its weights
        # come with a gradient and two moments.
        layers = 2 * (self._sines + 1) + 2.5 if self._backbone == "siren" else 4.0
        once = min(n, DEEP_CHUNK if p.alone else FIELD_CHUNK)
        return memory + 4.0 * layers * once * p.width + 16.0 * self._field[0]

    @property
    def _genes(self) -> int:
        return min(self.params.variable_genes, len(self.slide.genes))

    @property
    def _batch(self) -> int:
        return min(len(self.slide), self.params.batch)

    @property
    def _backbone(self) -> str:
        return self.params.backbone_on(self.slide)

    @property
    def _sines(self) -> int:
        return SINE_LAYERS_ALONE if self.params.alone else SINE_LAYERS

    @property
    def _codec(self) -> float:
        """Weights of an encoder, or of a decoder."""
        widths = self.params.widths or (self.params.hidden,)
        return float(sum(a * b for a, b in pairwise((self._genes, *widths))))

    @property
    def _field(self) -> tuple[float, float]:
        """Weights of the published field, and products of weights with each other in a step."""
        width, outputs = float(self.params.width), self.params.outputs
        if self._backbone == "ngp":
            return _GRID, 0.0
        if self._backbone == "siren":
            return width * (self._sines * width + outputs), 0.0
        folded = LINEAR_LAYERS * outputs * width**2
        return width * (2 * FEATURES + LINEAR_LAYERS * width + outputs), folded

    def _counted(self) -> float:
        p, n = self.params, len(self.slide)
        values = self._batch * p.members * self._genes
        seconds = 5.0
        if not p.alone:
            steps = self._steps(p.autoencoder_steps or PASSES) / p.stride
            seconds += steps * (20e-3 + 2.7e-10 * values * p.hidden)
            seconds += 1.1e-12 * n * p.members * p.hidden * self._genes
            seconds += p.field_steps * (3e-3 + 1.6e-8 * self._batch * p.members * p.width)
        steps = self._steps(p.decoder_steps) / (1 if p.alone else p.stride)
        seconds += steps * (17e-3 + (3e-9 + 1e-10 * p.hidden) * values)
        further = len(self.slide.genes) - self._genes
        seconds += 7e-8 * min(n, MOST_DECODED) * p.members * further
        if p.mix != "off":
            seconds += KernelPair().seconds(self.slide, None)
        place = 2e-6 + 8e-9 * p.width + self._genes * (1.5e-9 + 5e-11 * p.hidden)
        return seconds + place * self.targets * p.members

    def _steps(self, most: int) -> int:
        """Steps until training stops: the best validation, and the patience after."""
        p = self.params
        if p.patience and p.members > 1:
            best = _PASSES_TO_BEST * len(self.slide) / self._batch
            most = min(most, round(best + VALIDATE_EVERY * (p.patience + 1)))
        return most

    def _published(self) -> float:
        """Operations of all stages, a step forth and back counted as three, over their speed."""
        p, n, codec = self.params, len(self.slide), self._codec
        weights, folded = self._field
        # Folded layers cost by their width and not by the locations.
        if folded and n > p.outputs:
            weights -= LINEAR_LAYERS * float(p.width) ** 2
        else:
            folded = 0.0
        if p.alone:
            work = p.decoder_steps * 6 * (n * (weights + codec) + folded * -(-n // DEEP_CHUNK))
        else:
            steps = (p.autoencoder_steps or PASSES * max(1, -(-n // self._batch))) / p.stride
            loaded = 0
            if p.normalise == "neighbours" and "graph" not in p.without:
                loaded = min(n, self._batch * p.neighbours) - self._batch
            work = steps * (self._batch * 12 * codec + loaded * 4 * p.hidden * self._genes)
            work += p.field_steps * 6 * (n * weights + folded * -(-n // FIELD_CHUNK))
            work += p.decoder_steps / p.stride * n * 6 * codec
        work += self.targets * 2 * (weights + codec)
        steps = p.decoder_steps + (0 if p.alone else p.field_steps)
        return work / _SPEED + _STEP_S * steps
