"""Enhancements as h5ad, opened by scanpy and the rest of the AnnData world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.files import written_aside
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.expression import Expression
from napari_stsr.results.writers.annotated import annotated, matrices
from napari_stsr.results.writers.patient_file import PatientFile
from napari_stsr.results.writers.stored import chunks, pour


def write_h5ad(enhancement: Enhancement, path: Path, columns: NDArray[np.int64]) -> None:
    """Write the given gene columns; the matrix is never held whole."""
    import h5py
    from anndata.io import write_elem

    table = annotated(enhancement, columns)
    with written_aside(path) as aside, PatientFile(aside) as patient:
        with h5py.File(patient, "w") as file:
            write_elem(file, "/", table)
            for name, expression in matrices(enhancement).items():
                _write_matrix(file, name, expression, columns, patient)
        patient.check()


def _write_matrix(
    file: Any,
    name: str,
    expression: Expression,
    columns: NDArray[np.int64],
    patient: PatientFile,
) -> None:
    shape = (expression.shape[0], len(columns))
    matrix = file.create_dataset(
        name, shape, "f4", chunks=chunks(shape, "h5"), compression=1, shuffle=True
    )
    matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for _ in pour(expression, columns, matrix):
        patient.check()
