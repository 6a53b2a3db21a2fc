"""What a field method keeps of its slide, and the file of a fit: plain arrays and JSON, no code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.files import written_aside
from napari_stsr.methods.parameters import Params
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale, Slide

_FORMAT = "napari-stsr field 2"


@dataclass(frozen=True, eq=False)
class Measured:
    """A learned slide: where its locations lie and what they hold of the genes to predict.

    Parameters
    ----------
    name : str
    genes : Genes
        The g genes to predict.
    gene_columns : (g,) int array
        Their columns on the slide.
    counts : Counts
        (n, g).
    totals : (n,) float array
        Counts of every location over all genes of the slide.
    coordinates : (n, 2) float array
        Centres (x, y) in µm.
    barcodes : (n,) array of str
    lattice : Lattice
    diameter_um : float
    scale : PixelScale
    """

    name: str
    genes: Genes
    gene_columns: NDArray[np.int64]
    counts: Counts
    totals: NDArray[np.float64]
    coordinates: NDArray[np.float64]
    barcodes: NDArray[np.str_]
    lattice: Lattice
    diameter_um: float
    scale: PixelScale

    @classmethod
    def of(cls, slide: Slide, genes: NDArray[np.int64] | None = None) -> Measured:
        """Keep some genes of a slide, in the order given; all by default."""
        every = np.arange(len(slide.genes))
        chosen = every if genes is None else np.asarray(genes, dtype=np.int64)
        whole = np.array_equal(chosen, every)
        return cls(
            slide.name,
            slide.genes if whole else slide.genes.take(chosen),
            chosen,
            slide.counts if whole else Counts(slide.counts.genes(chosen)),
            slide.counts.totals,
            slide.coordinates,
            slide.barcodes,
            slide.lattice,
            slide.diameter_um,
            slide.scale,
        )

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def spacing_um(self) -> float:
        """Distance between neighbours: the pitch, or that of as many places spread evenly.

        The pitch is 0 where most locations share their place with another.
        """
        even = np.sqrt(np.ptp(self.coordinates, axis=0).prod() / len(self))
        return self.lattice.pitch_um or float(even) or 1.0


def write_field(
    path: Path,
    method: str,
    measured: Measured,
    params: Params,
    seed: int,
    learned: Mapping[str, NDArray[Any]],
) -> None:
    """Write a fit as an npz archive, complete or not at all."""
    rows, lattice = measured.counts.rows, measured.lattice
    told = {
        "format": _FORMAT,
        "method": method,
        "params": params.as_dict(),
        "seed": seed,
        "name": measured.name,
        "shape": list(measured.counts.shape),
        "scale": [measured.scale.um_per_px, measured.scale.source],
        "diameter_um": measured.diameter_um,
        "lattice": [lattice.kind, lattice.pitch_um, lattice.residual],
        "learned": sorted(learned),
    }
    arrays = {
        "told": np.frombuffer(json.dumps(told).encode(), dtype=np.uint8),
        "gene_ids": measured.genes.ids.astype(np.str_),
        "gene_symbols": measured.genes.symbols.astype(np.str_),
        "gene_columns": measured.gene_columns,
        "data": rows.data,
        "indices": rows.indices,
        "indptr": rows.indptr,
        "totals": measured.totals,
        "coordinates": measured.coordinates,
        "barcodes": measured.barcodes.astype(np.str_),
        "sites": lattice.sites,
        "origin": lattice.origin,
        "basis": lattice.basis,
    }
    arrays.update({f"learned/{name}": values for name, values in learned.items()})
    # A file object, not a path: numpy would add its own suffix to the name.
    with written_aside(path) as aside, aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_field(
    path: Path, method: str, title: str
) -> tuple[Measured, dict[str, Any], int, dict[str, NDArray[Any]]]:
    """Read what `write_field` wrote: the slide, the parameters' values, the seed, the arrays.

    Raises
    ------
    InputError
        When the file is missing, broken, or no saved fit of this method.
    """
    broken = f"{str(path)!r} is no saved {title}"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        told = json.loads(arrays["told"].tobytes())
    except FileNotFoundError:
        raise InputError(f"There is no model {str(path)!r}.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{broken}: {error}.") from error
    if (told.get("format"), told.get("method")) != (_FORMAT, method):
        raise InputError(f"{broken} of this version.", "Fit it again.")
    rows = sparse.csr_matrix(
        (arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(told["shape"])
    )
    kind, pitch, residual = told["lattice"]
    lattice = Lattice(kind, pitch, arrays["sites"], arrays["origin"], arrays["basis"], residual)
    measured = Measured(
        told["name"],
        Genes(arrays["gene_ids"], arrays["gene_symbols"]),
        arrays["gene_columns"],
        Counts(rows),
        arrays["totals"],
        arrays["coordinates"],
        arrays["barcodes"],
        lattice,
        told["diameter_um"],
        PixelScale(*told["scale"]),
    )
    prefix = "learned/"
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise InputError(f"{broken}: {name} holds values that are no numbers.", "Fit it again.")
    learned = {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
    # Many are only looked at when something is asked; files of older versions do not list them.
    if missing := set(told.get("learned", ())) - learned.keys():
        raise InputError(f"{broken}: {', '.join(sorted(missing)[:3])} is missing.", "Fit it again.")
    return measured, told["params"], told["seed"], learned
