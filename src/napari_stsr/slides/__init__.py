"""What was measured: slides, their lattice, image, regions and targets."""

from napari_stsr.slides.counts import Counts
from napari_stsr.slides.genes import Genes
from napari_stsr.slides.lattice import Division, Lattice
from napari_stsr.slides.region import Region, read_regions, write_regions
from napari_stsr.slides.slide import Check, PixelScale, Slide, Source
from napari_stsr.slides.targets import Targets, grid, points, read_targets, subspots

__all__ = [
    "Check",
    "Counts",
    "Division",
    "Genes",
    "Lattice",
    "PixelScale",
    "Region",
    "Slide",
    "Source",
    "Targets",
    "grid",
    "points",
    "read_regions",
    "read_targets",
    "subspots",
    "write_regions",
]
