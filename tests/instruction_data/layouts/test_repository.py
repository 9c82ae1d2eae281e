"""What labels say, and what they leave open."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from instruction_data.layouts import LAYOUTS, detect
from instruction_data.sources.chips import Chip, complete_truth
from spex.errors import RecordError, SceneError


def chips(folder: Path) -> list[Chip]:
    source = LAYOUTS[folder.name]
    return [chip for item in source.items(folder) for chip in item.read(item.split or "train")]


def test_flood_labels_agree_or_are_unknown(data: Path) -> None:
    train, val, *_ = (complete_truth(chip.truth) for chip in chips(data / "hls_flood_wc"))
    assert train["water"][0][:, :16].all(), "for training one label and the pixels are enough"
    truth = val
    mask, unknown = truth["water"]
    assert mask[:, :8].all() and not mask[:, 8:].any()
    assert unknown[:, 8:16].all() and not unknown[:, :8].any() and not unknown[:20, 16:].any()
    mask, unknown = truth["cropland"]
    assert mask[:, 16:24].all() and unknown[:, 8:16].all() and not mask[:, :16].any()
    assert not unknown[:20, :8].any(), "agreed water is known not to be cropland"
    assert not truth["snow_ice"][0].any() and not truth["snow_ice"][1][:20].any()
    assert truth["cloud"][0][24:, 28:].all() and truth["cloud"][0].sum() == 32
    assert truth["tree_cover"][1][24:, 28:].all(), "nothing is known under a cloud"
    assert "burned" not in truth


def test_parents_are_the_union_of_known_children_only(data: Path) -> None:
    truth = complete_truth(chips(data / "hls_flood_wc")[1].truth)
    mask, unknown = truth["vegetation"]
    assert mask[:20, 16:].all() and not mask[:, :16].any()
    assert unknown[:, 8:16].all() and not unknown[:20, :8].any()
    assert not any((mask & unknown).any() for mask, unknown in truth.values())
    assert not truth["building"][0].any() and not truth["building"][1][:20, 16:].any(), (
        "no built-up land, no building"
    )


def test_mixed_background_says_nothing_about_grass(data: Path) -> None:
    (chip,) = chips(data / "naip_ohio_landcover")
    truth = complete_truth(chip.truth)
    assert truth["vegetation"][0][12:20].all() and truth["vegetation"][1][20:].all()
    assert truth["grassland"][1][20:].all() and not truth["grassland"][0].any()
    assert truth["built_up"][0][:8].all() and not truth["built_up"][1].any()
    assert not truth["building"][0][4:].any() and not truth["building"][1].any()
    assert truth["soil"][1][8:12].all() and not truth["soil"][1][12:].any()
    assert chip.level == "uncalibrated" and chip.scale == pytest.approx(1 / 255)


def test_wholly_unknown_classes_are_left_out() -> None:
    nothing, everything = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert set(complete_truth({"bare": (nothing, everything), "water": (everything, nothing)})) == {
        "water"
    }


def test_a_place_in_both_splits_is_refused(data: Path) -> None:
    split = json.loads((data / "split.json").read_text())
    split["hls_flood_wc"] = {"train": [1], "val": [2]}
    (data / "split.json").write_text(json.dumps(split))
    with pytest.raises(RecordError, match="train and val"):
        chips(data / "hls_flood_wc")


def test_items_in_neither_split_are_not_used(data: Path) -> None:
    split = json.loads((data / "split.json").read_text())
    split["hls_flood_wc"] = {"train": [0], "val": []}
    (data / "split.json").write_text(json.dumps(split))
    assert [chip.id for chip in chips(data / "hls_flood_wc")] == ["hls_000"]


def test_items_are_listed_without_pixels_and_travel_to_other_processes(data: Path) -> None:
    for image in (data / "hls_flood_wc/images").glob("*.tif"):
        image.write_bytes(b"cut short")
    first, second, third = LAYOUTS["hls_flood_wc"].items(data / "hls_flood_wc")
    assert (first.split, second.split, third.split) == ("train", "val", "val")
    assert first.place == "hls_7" and second.place == third.place == "hls_8"
    with pytest.raises(SceneError, match=r"001\.tif cannot be read .*; download"):
        list(pickle.loads(pickle.dumps(second)).read("val"))


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "s2_tokyo_patches"
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({"bands_10m": []}))
    (folder / "set_A.npz").write_bytes(b"PK\x03\x04 cut short")
    for item in LAYOUTS[folder.name].items(folder):
        with pytest.raises(SceneError, match=r"set_[AB]\.npz cannot be read"):
            list(item.read("train"))


def test_folders_are_told_by_name_and_metadata(data: Path) -> None:
    found = detect(data / "hls_flood_wc")
    assert (
        found
        and found.name == "hls_flood_wc"
        and found.licence
        and found.url.startswith("https://")
    )
    assert detect(data) is None
