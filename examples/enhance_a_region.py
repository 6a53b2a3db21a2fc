"""Enhance one region only: the method learns from it and two pitches around it."""

import numpy as np

import napari_stsr as stsr

slide = stsr.simulate_slide(shape=(20, 20))
x, y = np.median(slide.coordinates[slide.in_tissue], axis=0)
corners = [(x - 900, y - 700), (x + 900, y - 700), (x + 900, y + 700), (x - 900, y + 700)]
region = stsr.Region.from_polygons("margin", [corners])
result = stsr.enhance(slide, preset="fast", region=region)
print(f"{result.name}: {len(result)} subspots, {region.area_um2 / 1e6:.2f} mm²")
stsr.export(result, "margin.csv", genes=slide.genes.ids[:5])
