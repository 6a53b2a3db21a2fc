"""Data → layers, in µm, for napari; no widgets here."""
