"""SUICA's published schedule, plain and dense, on a simulated slide: time, memory, accuracy.

Run: ``python benchmarks/suica_published.py``; about an hour and a half of CPU time at the default
size. ``--epochs 3 --steps-embd 5 --steps-decoder 5`` only shows the time of a step.

Written from the paper and the description of its code; the formulas are those of
``tests/methods/suica/plain.py``. Prints JSON: ``losses`` are means over an epoch for the
autoencoder and single steps elsewhere, first and last; ``reached`` is the loss over all training
locations after each stage. ``suica_speed.py`` does the same with ours.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from napari_stsr.slides import Counts, Slide
from napari_stsr.slides.simulate import simulate_slide

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.methods.suica import plain

BATCH, LATENT = 512, 32


def thinned(slide: Slide, nonzero: float, seed: int) -> Slide:
    """The slide sequenced less deeply, genes unequally, until that share of the counts is left.

    The simulator's spots are far denser than real ones; a molecule is kept with a chance of its
    gene.
    """
    rng = np.random.default_rng([seed, 1])
    rows = slide.counts.rows.tocsr()
    strength = rng.lognormal(0, 1, rows.shape[1])[rows.indices]
    shallow, deep = 1e-6, 1e3
    for _ in range(60):
        depth = math.sqrt(shallow * deep)
        chance = np.minimum(depth * strength, 1)
        share = (1 - (1 - chance) ** rows.data).sum() / math.prod(rows.shape)
        shallow, deep = (depth, deep) if share < nonzero else (shallow, depth)
    kept = rng.binomial(rows.data.astype(np.int64), chance).astype(np.float32)
    left = sparse.csr_matrix((kept, rows.indices, rows.indptr), shape=rows.shape)
    left.eliminate_zeros()
    return slide.with_counts(Counts(left))


def simulated(locations: int, genes: int, nonzero: float, seed: int) -> Slide:
    """A square array of so many spots without a border of tissue."""
    rows = max(4, math.isqrt(locations))
    shape = rows, max(4, math.ceil(locations / rows))
    slide = simulate_slide(shape=shape, genes=genes, seed=seed, parts=4, tissue=False, image=False)
    return thinned(slide.take(np.arange(locations)), nonzero, seed)


def held_out(n: int, seed: int) -> NDArray[np.bool_]:
    """One location in five, at random."""
    out = np.zeros(n, dtype=bool)
    out[np.random.default_rng([seed, 2]).permutation(n)[: n // 5]] = True
    return out


def train_autoencoder(
    model: plain.GraphAutoencoder, x: Tensor, edges: Tensor, seen: Tensor, epochs: int
) -> list[float]:
    """Adam 1e-5; a batch brings its neighbours along, and only its own rows are judged."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-5)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in seen[torch.randperm(len(seen))].split(BATCH):
            loaded, among = plain.truncated(edges, batch, len(x))
            p = model(x[loaded], among)[: len(batch)]
            loss = plain.reconstruction_loss(p, x[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        losses.append(total / len(seen))
    return losses


def train_field(field: nn.Module, coordinates: Tensor, z: Tensor, steps: int) -> list[float]:
    """AdamW 1e-4, all locations a step, on L_embd."""
    optimiser = torch.optim.AdamW(field.parameters(), lr=1e-4, weight_decay=0.01)
    losses = []
    for _ in range(steps):
        loss = plain.embedding_loss(field(coordinates), z)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def train_decoder(
    decoder: nn.Module, field: nn.Module, coordinates: Tensor, y: Tensor, steps: int
) -> list[float]:
    """AdamW 1e-4, all locations a step, on L; the frozen field is evaluated every time."""
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=1e-4, weight_decay=0.01)
    losses = []
    for _ in range(steps):
        with torch.no_grad():
            z = field(coordinates)
        loss = plain.decoder_loss(decoder(z), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def drawn(genes: int, given: argparse.Namespace) -> tuple[plain.GraphAutoencoder, nn.Module]:
    """Autoencoder and field before training, the same for both sides of the comparison."""
    torch.manual_seed(given.seed)
    widths = given.width, given.width // 4, given.width // 32, LATENT
    wide = {} if given.backbone == "ngp" else {"width": given.width}
    return plain.GraphAutoencoder(genes, widths), plain.BACKBONES[given.backbone](LATENT, **wide)


def published(
    x: Tensor, places: Tensor, hidden: Tensor, given: argparse.Namespace
) -> dict[str, Any]:
    """The whole schedule on expression (n, g) at places (n, 2); what it cost and reached."""
    seconds: dict[str, float] = {}
    losses: dict[str, list[float]] = {}
    reached: dict[str, float] = {}
    start = time.process_time()

    def done(stage: str, course: list[float]) -> None:
        nonlocal start
        seconds[stage] = time.process_time() - start
        losses[stage] = [course[0], course[-1]] if course else []
        start = time.process_time()

    in_graph = torch.ones_like(hidden) if given.leak else ~hidden
    members, seen = x[in_graph], torch.nonzero(~hidden[in_graph])[:, 0]
    edges = plain.neighbour_edges(places[in_graph])
    coordinates = plain.scaled_coordinates(places, places[~hidden]).float()
    known, y = coordinates[~hidden], x[~hidden]

    model, field = drawn(x.shape[1], given)
    done("autoencoder", train_autoencoder(model, members, edges, seen, given.epochs))
    model.eval()
    with torch.no_grad():
        z = model.encoder(members, edges)[seen]
        reached["autoencoder"] = plain.reconstruction_loss(model.decoder(z), y).item()
    start = time.process_time()
    done("field", train_field(field, known, z, given.steps_embd))
    with torch.no_grad():
        reached["field"] = plain.embedding_loss(field(known), z).item()
    start = time.process_time()
    done("decoder", train_decoder(model.decoder, field, known, y, given.steps_decoder))
    with torch.no_grad():
        p = model.decoder(field(coordinates))
        reached["decoder"] = plain.decoder_loss(p[~hidden], y).item()
    return {
        "cpu_seconds": seconds,
        "losses": losses,
        "reached": reached,
        "training": plain.metrics(p[~hidden].double(), y.double()),
        "held_out": plain.metrics(p[hidden].double(), x[hidden].double()),
    }


def shared_arguments(description: str | None) -> argparse.ArgumentParser:
    """Slide, split, networks and threads, as both sides of the comparison take them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--locations", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--nonzero", type=float, default=0.1, help="share of non-zero counts")
    parser.add_argument("--slide", type=int, default=0, help="seed of the slide and the split")
    parser.add_argument("--seed", type=int, default=0, help="seed of the networks and batches")
    parser.add_argument("--backbone", choices=sorted(plain.BACKBONES), default="ffn")
    parser.add_argument("--width", type=int, default=2048, help="of the widest layers")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def arguments() -> argparse.Namespace:
    parser = shared_arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--steps-embd", type=int, default=1001)
    parser.add_argument("--steps-decoder", type=int, default=999)
    parser.add_argument("--leak", action="store_true", help="held-out locations in the graph")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    # In a process of its own, so that the peak below is the schedule's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        asked = given.locations, given.genes, given.nonzero, given.slide
        slide = pool.submit(simulated, *asked).result()
    start = time.process_time()
    held = torch.from_numpy(held_out(given.locations, given.slide))
    kept = plain.prepared(torch.from_numpy(slide.counts.rows.toarray()), deciding=~held)
    left = len(kept.expression)
    if left < 10:
        sys.exit(f"Only {left} locations have 200 counts: give more --genes or more --nonzero.")
    places = torch.from_numpy(slide.coordinates)[kept.locations]
    hidden = held[kept.locations]
    preparation = time.process_time() - start
    told = published(kept.expression, places, hidden, given)
    told["cpu_seconds"] = {"preparation": preparation, **told["cpu_seconds"]}
    told["cpu_seconds"]["whole"] = sum(told["cpu_seconds"].values())
    report = {
        "asked": vars(given),
        "shape": list(kept.expression.shape),
        "nonzero": (kept.expression > 0).float().mean().item(),
        "hidden": int(hidden.sum()),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        **told,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
