"""Draws the pictures of the documents from the sample scene: ``python docs/figures.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray
from scipy import ndimage

import spex
from spex.evidence.classes import classes
from spex.evidence.indices import compute_index, role_planes
from spex.raster.sample_scene import write_sample_scene
from spex.results.rendering import rgb_image

ROOT = Path(__file__).parents[1]
QUERY = "Where is open water, and where is vegetation?"


def draw_image(axes: Axes, image: NDArray[np.uint8], title: str) -> None:
    """Show an image without ticks."""
    axes.imshow(image)
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()


def draw_mask(
    axes: Axes, image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: str, title: str
) -> None:
    """Show a mask in its colour on a pale grey scene, with a dark outline."""
    grey = 255 - (255 - image.mean(axis=2)) * 0.45
    draw_image(axes, np.repeat(grey[..., None], 3, axis=2).astype(np.uint8), title)
    axes.imshow(np.where(mask, 1.0, np.nan), cmap=ListedColormap([colour]), alpha=0.85)
    axes.contour(mask, levels=[0.5], colors="black", linewidths=0.7)


def main() -> None:
    """Write README.png and docs/concepts.png."""
    with tempfile.TemporaryDirectory() as folder:
        scene = spex.Scene.open(write_sample_scene(Path(folder)))
        extraction = spex.load().extract(scene, QUERY)
        pixels = scene.read()
        water_probability = read_probability(extraction, 0)
    image, _ = rgb_image(pixels)
    water, vegetation = extraction.masks
    colours = {name: classes()[name].colour for name in ("water", "vegetation")}

    figure, panels = plt.subplots(1, 3, figsize=(12, 4.4), constrained_layout=True)
    draw_image(panels[0], image, "the scene (Sentinel-2, 3 km wide)")
    draw_mask(panels[1], image, water, colours["water"], f"open water: {share(water)}")
    draw_mask(
        panels[2], image, vegetation, colours["vegetation"], f"vegetation: {share(vegetation)}"
    )
    figure.suptitle(f"“{QUERY}”", fontsize=13)
    figure.savefig(ROOT / "README.png", dpi=100)

    lake = largest_region_window(water)
    index_name = "NDWI"  # the sample has no short-wave infrared band
    ndwi = compute_index(index_name, role_planes(pixels))
    figure, panels = plt.subplots(1, 4, figsize=(14, 3.0), constrained_layout=True)
    draw_image(panels[0], image[lake], "scene")
    shown = panels[1].imshow(ndwi[lake], cmap="RdBu", vmin=-0.8, vmax=0.8)
    figure.colorbar(shown, ax=panels[1], shrink=0.7)
    panels[1].set_title(f"index {index_name}", fontsize=11)
    shown = panels[2].imshow(water_probability[lake], cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(shown, ax=panels[2], shrink=0.7)
    panels[2].set_title("probability of water", fontsize=11)
    count = ndimage.label(water[lake], np.ones((3, 3)))[1]
    draw_mask(panels[3], image[lake], water[lake], colours["water"], f"mask: {count} regions")
    for axes in panels:
        axes.set_axis_off()
    figure.savefig(ROOT / "docs" / "concepts.png", dpi=90)


def read_probability(extraction: spex.Extraction, number: int) -> NDArray[np.float32]:
    """Probability of one mask, 0 to 1."""
    assert extraction.probability_path is not None
    with rasterio.open(extraction.probability_path) as source:
        return (source.read(number + 1) / 250).astype(np.float32)


def share(mask: NDArray[np.bool_]) -> str:
    """Share of the scene in percent."""
    return f"{100 * mask.mean():.2g} % of the scene"


def largest_region_window(mask: NDArray[np.bool_], margin: int = 30) -> tuple[slice, slice]:
    """Rows and columns around the largest region of a mask."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    rows, columns = ndimage.find_objects(labels)[int(np.argmax(sizes))]
    return (
        slice(max(rows.start - margin, 0), rows.stop + margin),
        slice(max(columns.start - margin, 0), columns.stop + margin),
    )


if __name__ == "__main__":
    main()
