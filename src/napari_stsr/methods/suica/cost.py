"""What a fit of SUICA and its prediction cost, told before they start.

Constants are times of one processor core, measured on real sections of 187 to 6,509 locations and
on simulated slides of 121,756 and 700,000.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_stsr.methods.kernel_pair import KernelPair
from napari_stsr.methods.suica.params import FIELD_CHUNK, PASSES, SuicaParams
from napari_stsr.slides import Slide

# Floating-point operations a second; wide layers run nearer the processor's peak.
_NARROW, _WIDE, _WIDE_FROM = 4e10, 8e10, 1024
# Passes over the slide to the best validation, and the steps between two validations.
_PASSES_TO_BEST, _VALIDATE_EVERY = 100, 25
_MOST_DECODED = 2500
# Linear layers of the published Fourier field; sine layers without an autoencoder, and with one.
_LINEAR, _SINES_ALONE, _SINES = 3, 11, 2


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
        work = self._published() if self._is_published else self._counted()
        return 3 + 2.8e-5 * n + 6.4e-8 * stored + work

    @property
    def memory(self) -> float:
        """Bytes at the peak."""
        p, n, stored = self.params, len(self.slide), self.slide.counts.nnz
        learned = min(1.0, 2 * self._genes / len(self.slide.genes))
        memory = 700e6 + 12.0 * stored * (1 + learned) + 4.0 * min(n * self._genes, 250e6)
        memory += 32.0 * self._codec + 4.0 * self.targets * p.hidden * (1 + p.members)
        if not self._is_published:
            return memory + 12.0 * p.members * self._batch * self._genes
        # Layers of the field whose values the step back needs, and their gradients.
        deep = 4.0 if self._fourier else 8.5
        return memory + deep * 4.0 * min(n, FIELD_CHUNK) * p.width

    @property
    def _is_published(self) -> bool:
        return self.params.objective == "published"

    @property
    def _genes(self) -> int:
        return min(self.params.variable_genes, len(self.slide.genes))

    @property
    def _batch(self) -> int:
        return min(len(self.slide), self.params.batch)

    @property
    def _fourier(self) -> bool:
        backbone = self.params.backbone
        return backbone == "ffn" or (backbone == "auto" and self.slide.location_word != "spot")

    @property
    def _codec(self) -> float:
        """Weights of an encoder, or of a decoder."""
        p = self.params
        inner = p.hidden * p.hidden * (1 / 4 + 1 / 32) if self._is_published else 0.0
        return p.hidden * self._genes + inner

    def _counted(self) -> float:
        p, n = self.params, len(self.slide)
        values = self._batch * p.members * self._genes
        seconds = 5.0
        if "autoencoder" not in p.without:
            steps = self._steps(p.autoencoder_steps or PASSES)
            seconds += steps * (20e-3 + 2.7e-10 * values * p.hidden)
            seconds += 1.1e-12 * n * p.members * p.hidden * self._genes
            seconds += p.field_steps * (3e-3 + 1.6e-8 * self._batch * p.members * p.width)
        seconds += self._steps(p.decoder_steps) * (17e-3 + (3e-9 + 1e-10 * p.hidden) * values)
        further = len(self.slide.genes) - self._genes
        seconds += 7e-8 * min(n, _MOST_DECODED) * p.members * further
        if p.mix != "off":
            seconds += KernelPair().seconds(self.slide, None)
        place = 2e-6 + 8e-9 * p.width + self._genes * (1.5e-9 + 5e-11 * p.hidden)
        return seconds + place * self.targets * p.members

    def _steps(self, most: int) -> float:
        """Steps, in strides, until training stops: the best validation, and the patience after."""
        p = self.params
        if p.patience and p.members > 1:
            best = _PASSES_TO_BEST * len(self.slide) / self._batch
            most = min(most, round(best + _VALIDATE_EVERY * (p.patience + 1)))
        return most / p.stride

    def _published(self) -> float:
        """Operations of all stages, a step forth and back counted as three, over their speed."""
        p, n, codec = self.params, len(self.slide), self._codec
        if "autoencoder" in p.without:
            field, folding = self._field(_SINES_ALONE, p.hidden)
            work = p.decoder_steps * 6 * (n * (field + p.hidden * self._genes) + folding)
        else:
            field, folding = self._field(_SINES, p.latent)
            steps = (p.autoencoder_steps or PASSES * max(1, -(-n // self._batch))) / p.stride
            work = steps * self._batch * 12 * codec
            if p.normalise == "neighbours":
                loaded = min(n, self._batch * p.neighbours) - self._batch
                work += steps * loaded * 4 * p.hidden * self._genes
            work += p.field_steps * 6 * (n * field + folding)
            work += p.decoder_steps / p.stride * n * 6 * codec
        work += self.targets * 2 * (field + codec)
        return work / (_WIDE if p.width >= _WIDE_FROM else _NARROW)

    def _field(self, sines: int, outputs: int) -> tuple[float, float]:
        """Weights a location passes, and products of weights with each other in every step."""
        width = float(self.params.width)
        if self._fourier:
            return 512 * width, _LINEAR * outputs * width**2
        return sines * width**2, 0.0
