"""How anything is fitted: one loop, progress, cancel, devices, checkpoints."""

from napari_stsr.training.progress import CancelToken, Pace, Progress, Run

__all__ = ["CancelToken", "Pace", "Progress", "Run"]
