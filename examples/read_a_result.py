"""Read a result back: genes come from the file when asked, attention tells where they came from.

Give a result; without one, `enhance_a_slide.py` is expected to have written ``enhanced.h5ad``.
"""

import sys

import napari_stsr as stsr

result = stsr.read_enhancement(sys.argv[1] if len(sys.argv) > 1 else "enhanced.h5ad")
record = result.provenance
print(f"{result.name}: {record['method']} with seed {record['run']['seed']}")
print(f"{result.supported.mean():.0%} of {len(result)} targets lie within a pitch of a measurement")
if result.attention is not None and result.sources is not None:
    sources, weights = result.attention.sources(target=len(result) // 2)
    for source, weight in zip(sources[:3], weights[:3]):
        print(f"{weight:6.1%} from {result.sources[source]}")
