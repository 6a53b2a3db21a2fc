"""The main job in five lines: open a slide, enhance it, look at a gene, export.

Give a Space Ranger folder; without one a slide is simulated.
"""

import sys

import napari_stsr as stsr

slide = stsr.open_slide(sys.argv[1]) if len(sys.argv) > 1 else stsr.simulate_slide(shape=(16, 16))
result = stsr.enhance(slide, method="square", preset="fast")
gene = slide.genes.label(int(slide.counts.gene_totals.argmax()))
print(f"{gene}: {result.expression([gene]).mean():.3g} counts at an average subspot")
stsr.export(result, "enhanced.h5ad")
