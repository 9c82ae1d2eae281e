from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from spex.postprocess.components import RegionSweep


def swept(mask: np.ndarray, rows: int, **values: np.ndarray):
    sweep = RegionSweep()
    labels = [
        sweep.add(mask[r : r + rows], {name: plane[r : r + rows] for name, plane in values.items()})
        for r in range(0, len(mask), rows)
    ]
    table = sweep.finish()
    return table, table.final[np.concatenate(labels)]


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 200])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.6])
def test_strips_give_the_same_regions_as_the_whole_mask(rows: int, share: float):
    rng = np.random.default_rng(int(100 * share))
    mask = rng.random((150, 90)) < share
    value = rng.random(mask.shape).astype(np.float32)
    table, labels = swept(mask, rows, value=value)
    expected, count = ndimage.label(mask, structure=np.ones((3, 3)))
    assert table.count == count
    # The numbering differs, the partition does not.
    pairs = np.unique(np.stack([labels[mask], expected[mask]], axis=1), axis=0)
    assert len(pairs) == count
    order = pairs[np.argsort(pairs[:, 0]), 1]
    np.testing.assert_array_equal(table.sums["pixels"], np.bincount(expected.ravel())[order])
    np.testing.assert_allclose(
        table.sums["value"], ndimage.sum_labels(value, expected, order), rtol=1e-6
    )
    assert sum(table.strips) == len(mask)


def test_diagonal_neighbours_across_a_seam_are_one_region():
    mask = np.eye(6, dtype=bool)
    table, labels = swept(mask, 2)
    assert table.count == 1
    assert set(labels[mask]) == {1}
    table, _ = swept(np.fliplr(mask), 3)
    assert table.count == 1


def test_nothing_and_everything():
    assert swept(np.zeros((5, 4), bool), 2)[0].count == 0
    table, _ = swept(np.ones((5, 4), bool), 2)
    assert table.sums["pixels"].tolist() == [20]


def test_undefined_values_do_not_count():
    mask = np.ones((2, 3), bool)
    value = np.array([[1, np.nan, 3], [np.nan, 5, 6]], np.float32)
    table, _ = swept(mask, 1, value=value)
    assert table.sums["value"].tolist() == [15]
    assert table.sums["value:n"].tolist() == [4]
    assert table.mean("value").tolist() == [15 / 4]
    assert np.isnan(table.mean("other")).all()
