"""Open any slide: Visium, Visium HD, AnnData, Spatial Transcriptomics."""

from napari_stsr.slides.readers.opening import bins_available, open_slide
from napari_stsr.slides.readers.recognise import is_slide

__all__ = ["bins_available", "is_slide", "open_slide"]
