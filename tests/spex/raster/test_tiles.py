"""Tiles cover a scene exactly and their blending weights sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex.raster.tiles import Tile, blend_weight, plan_tiles

sides = st.integers(1, 150)


@settings(max_examples=150, deadline=None)
@given(height=sides, width=sides, tile=st.integers(8, 96), share=st.floats(0, 0.5))
def test_tiles_cover_and_weights_sum_to_one(
    height: int, width: int, tile: int, share: float
) -> None:
    overlap = int(tile * share)
    total, seen = np.zeros((height, width)), np.zeros((height, width), dtype=int)
    tiles = plan_tiles(height, width, tile, overlap)
    for part in tiles:
        assert part.height == min(tile, height) and part.width == min(tile, width)
        place = np.s_[part.row : part.row + part.height, part.col : part.col + part.width]
        weight = blend_weight(part, (height, width), overlap)
        assert (
            weight.dtype == np.float32
            and weight.shape == (part.height, part.width) == total[place].shape
        )
        assert weight.min() >= 0 and weight.max() <= 1
        total[place] += weight
        seen[place] += 1
    assert seen.min() >= 1
    assert len(set(tiles)) == len(tiles)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_neighbours_share_the_overlap_and_ramps_are_linear() -> None:
    tiles = plan_tiles(100, 180, 100, 20)
    assert tiles == [Tile(0, 0, 100, 100), Tile(0, 80, 100, 100)]
    left, right = (blend_weight(tile, (100, 180), 20)[50] for tile in tiles)
    np.testing.assert_allclose(left[:80], 1)
    np.testing.assert_allclose(left[80:], 1 - (np.arange(20) + 0.5) / 20, atol=1e-6)
    np.testing.assert_allclose(right[:20], 1 - left[80:], atol=1e-6)


def test_small_scene_is_one_tile_of_weight_one() -> None:
    assert plan_tiles(30, 40, 64, 16) == [Tile(0, 0, 30, 40)]
    np.testing.assert_array_equal(blend_weight(Tile(0, 0, 30, 40), (30, 40), 16), 1)


def test_overlap_is_at_most_half_a_tile() -> None:
    with pytest.raises(ValueError, match="overlap is 40"):
        plan_tiles(100, 100, 64, 40)
