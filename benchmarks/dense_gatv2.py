"""Dense GATv2 against PyG's GATv2Conv: 45,000 nodes × 9 neighbours × 4 heads, both ways.

Run: ``python benchmarks/dense_gatv2.py``. Both run in this process, in turn, on one thread; the
ratio of CPU times is what to quote.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch_geometric.nn import GATv2Conv

from napari_stsr.methods.layers.gatv2 import DenseGATv2

NODES, NEIGHBOURS, HEADS = 45_000, 9, 4


def measured(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for width in (32, 128):
        x = torch.randn(NODES, width, requires_grad=True)
        index = torch.randint(0, NODES, (NODES, NEIGHBOURS))
        edges = torch.stack([index.flatten(), torch.arange(NODES).repeat_interleave(NEIGHBOURS)])
        dense = DenseGATv2(width, HEADS, width // HEADS)
        pyg = GATv2Conv(width, width // HEADS, heads=HEADS, add_self_loops=False)

        def with_dense(x=x, index=index, dense=dense) -> None:  # type: ignore[no-untyped-def]
            dense(x, x[:, None], index=index)[0].sum().backward()

        def with_pyg(x=x, edges=edges, pyg=pyg) -> None:  # type: ignore[no-untyped-def]
            pyg(x, edges).sum().backward()

        with_dense(), with_pyg()
        pairs = [(measured(with_pyg), measured(with_dense)) for _ in range(5)]
        ratio = statistics.median(theirs / ours for theirs, ours in pairs)
        theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"width {width:4d}: PyG {1e3 * theirs:6.0f} CPU-ms, dense {1e3 * ours:6.0f} CPU-ms, "
            f"ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
