"""Open any slide: Visium, Visium HD, AnnData, Spatial Transcriptomics, or single cells."""

from napari_stsr.slides.readers.cell_table import CellColumns
from napari_stsr.slides.readers.cells import open_slide_or_cells, read_cells
from napari_stsr.slides.readers.opening import bins_available, open_slide
from napari_stsr.slides.readers.recognise import is_slide

__all__ = [
    "CellColumns",
    "bins_available",
    "is_slide",
    "open_slide",
    "open_slide_or_cells",
    "read_cells",
]
