"""A fitted Square as a file: plain tensors, numbers and strings, so that loading runs no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from napari_stsr.errors import InputError
from napari_stsr.files import written_aside
from napari_stsr.methods.companion import Companion
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.square.diffusion import Diffusion
from napari_stsr.methods.square.embedding import Codec, LogCodec, Vae
from napari_stsr.methods.square.graph_training import Observed
from napari_stsr.methods.square.learned import Learned
from napari_stsr.methods.square.params import SquareParams
from napari_stsr.methods.square.uncertainty import Spread
from napari_stsr.results.posterior import Trust
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale

_FORMAT = "napari-stsr square 6"
_SPREAD = tuple(part.name for part in fields(Spread))


def write_learned(path: Path, learned: Learned) -> None:
    """Write what Square learned, complete or not at all."""
    counts, lattice = learned.measured.rows, learned.lattice
    state = {
        "format": _FORMAT,
        "name": learned.name,
        "params": learned.params.as_dict(),
        "gene_ids": learned.genes.ids.tolist(),
        "gene_symbols": learned.genes.symbols.tolist(),
        "barcodes": learned.barcodes.tolist(),
        "scale": [learned.scale.um_per_px, learned.scale.source],
        "diameter_um": learned.diameter_um,
        "lattice": [lattice.kind, lattice.pitch_um, lattice.residual],
        "shape": list(counts.shape),
        "log_gain": learned.observed.log_gain,
        "arrays": {name: torch.from_numpy(np.array(value)) for name, value in {
            "gene_columns": learned.gene_columns,
            "trained_columns": learned.trained_columns,
            "coordinates": learned.coordinates,
            "sites": lattice.sites,
            "origin": lattice.origin,
            "basis": lattice.basis,
            "data": counts.data.astype(np.float32),
            "indices": counts.indices,
            "indptr": counts.indptr,
            "weight": learned.weight,
            "bias": learned.bias,
        }.items()},
        "z": learned.observed.z,
        "log_depth": learned.observed.log_depth,
        "usable": learned.observed.usable,
        "variance": learned.observed.variance,
        "spread": _spread_state(learned.spread),
        "trust": _trust_state(learned.trust),
        "companion": _companion_state(learned.companion),
        "codec": _module_state(learned.codec),
        "diffusion": _module_state(learned.diffusion),
    }  # fmt: skip
    with written_aside(Path(path)) as aside:
        torch.save(state, aside)


def _module_state(module: Any) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in module.state_dict().items()}


def read_learned(path: Path) -> Learned:
    """Read what `write_learned` wrote.

    Raises
    ------
    InputError
        When the file is missing, broken or no saved Square.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"There is no model {str(path)!r}.") from None
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        raise InputError(f"{str(path)!r} is no saved Square: {error}.") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise InputError(f"{str(path)!r} is no saved Square of this version.", "Fit it again.")
    arrays = {name: value.numpy() for name, value in state["arrays"].items()}
    params = SquareParams(**state["params"])
    codec = _codec(params, state["codec"])
    latent, ablation = state["z"].shape[-1], params.ablation
    typical = float(state["diffusion"]["typical_log_depth"])
    diffusion = Diffusion(
        latent, params.width, params.heads, params.layers, typical, params.prior, ablation
    )
    diffusion.load_state_dict(state["diffusion"])
    diffusion.requires_grad_(False).eval()
    rows = sparse.csr_matrix(
        (arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(state["shape"])
    )
    kind, pitch, residual = state["lattice"]
    learned = Learned(
        state["name"],
        Genes(np.array(state["gene_ids"]), np.array(state["gene_symbols"])),
        arrays["gene_columns"],
        Counts(rows),
        Lattice(kind, pitch, arrays["sites"], arrays["origin"], arrays["basis"], residual),
        arrays["coordinates"],
        np.array(state["barcodes"]),
        state["diameter_um"],
        PixelScale(*state["scale"]),
        params,
        codec,
        diffusion,
        Observed(*(state[part] for part in ("z", "log_depth", "usable", "log_gain", "variance"))),
        arrays["weight"],
        arrays["bias"],
        arrays["trained_columns"],
    )
    learned.companion = _companion(learned, state["companion"])
    if state["spread"] is not None:
        learned.spread = Spread(*(state["spread"][name].numpy() for name in _SPREAD))
    if state["trust"] is not None:
        learned.trust = Trust(state["trust"]["depth"], state["trust"]["genes"].numpy())
    return learned


def _spread_state(spread: Spread | None) -> dict[str, Tensor] | None:
    if spread is None:
        return None
    return {name: torch.from_numpy(getattr(spread, name)) for name in _SPREAD}


def _trust_state(trust: Trust | None) -> dict[str, Any] | None:
    if trust is None:
        return None
    return {"depth": trust.depth, "genes": torch.from_numpy(trust.genes)}


def _companion_state(companion: Companion | None) -> dict[str, Any] | None:
    """What the companion learned; its slide is that of the networks."""
    if companion is None:
        return None
    arrays = {"totals": companion.kernel.measured.totals, **companion.kept()}
    return {
        "seed": companion.kernel.seed,
        "arrays": {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()},
    }


def _companion(learned: Learned, state: Mapping[str, Any] | None) -> Companion | None:
    if state is None:
        return None
    arrays = {name: value.numpy() for name, value in state["arrays"].items()}
    measured = Measured(
        learned.name,
        learned.genes,
        learned.gene_columns,
        learned.measured,
        arrays.pop("totals"),
        learned.coordinates,
        learned.barcodes,
        learned.lattice,
        learned.diameter_um,
        learned.scale,
    )
    return Companion.again(arrays, measured, state["seed"])


def _codec(params: SquareParams, state: Mapping[str, Tensor]) -> Codec:
    genes = len(state["output.bias"])
    if params.ablation == "vae":
        codec: Vae | LogCodec = LogCodec(genes)
    else:
        codec = Vae(np.full(genes, 1 / genes), params.latent, params.hidden, params.likelihood)
    codec.load_state_dict(dict(state))
    codec.requires_grad_(False).eval()
    return codec
