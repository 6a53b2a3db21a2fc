"""Fit once, keep the model, and predict at other places later without training."""

import napari_stsr as stsr

slide = stsr.simulate_slide(shape=(16, 16), genes=60)
model = stsr.fit(slide, "factor_kernel")
stsr.save_model(model, "factor_kernel.stsr")

again = stsr.load_model("factor_kernel.stsr")
fine = stsr.predict(again, grid_um=25, genes=slide.genes.ids[:3])
print(f"{fine.name}: {len(fine)} places, by {fine.provenance['model']['file']}")

filled = stsr.predict(again, slide, task="impute")
zeros = (slide.counts.dense(slide.genes.columns(slide.genes.ids)) == 0).mean()
print(f"{filled.kind}: {zeros:.0%} of the entries were zero and are predicted")
stsr.export(filled, "filled-in.h5ad")
