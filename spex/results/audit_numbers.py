"""The numbers that a text about a measured mask may state, in plain form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spex.postprocess.doubts import Doubts
from spex.postprocess.fact_text import area_text, doubt_text, share_text
from spex.query.numbers import all_numbers

PROBABILITIES = ("0.4", "0.5", "0.6")
"""Limits of what explanations call sure and close."""


def mask_numbers(measured: dict[str, Any]) -> set[str]:
    """Sizes, shares, counts and what speaks against a mask.

    Args:
        measured: ``sizes`` of its regions, ``area_m2`` (``None`` without map units), ``pixels``,
            ``fraction``, ``regions``, ``mean_probability``, and its ``doubt`` (``Doubts`` or
            ``None``).
    """
    sizes = measured["sizes"]
    in_metres = measured["area_m2"] is not None
    texts = [
        area_text(size if in_metres else None, size)
        for size in (sizes.max(), sizes.min(), sizes.mean())
    ]
    texts += [area_text(measured["area_m2"], measured["pixels"]), share_text(measured["fraction"])]
    texts += [f"{measured['regions']:,}", f"{measured['mean_probability']:.2f}"]
    doubt = measured["doubt"]
    if doubt is not None:
        size = measured["area_m2"] if in_metres else measured["pixels"]
        texts += _doubt_texts(doubt, size, in_metres)
    return set(all_numbers(" ".join(texts)))


def _doubt_texts(doubt: Doubts, size: float, in_metres: bool) -> list[str]:
    """Words with every number that explanations take from doubts; ``size`` is the mask's area."""
    texts = [doubt_text(doubt, name, in_metres=in_metres) for name in ("confusion", "left_out")]
    areas = [doubt.unsure, doubt.almost]
    if doubt.rules is not None:
        areas += [doubt.rules.only_mask, doubt.rules.only_rules]
    texts += [area_text(area if in_metres else None, area) for area in areas]
    return [*texts, share_text(doubt.unsure / size), share_text(doubt.wrong_side)]


def unknown_numbers(unknown: float, measured_masks: Sequence[dict[str, Any]]) -> set[str]:
    """The share and the area of what a map of all classes leaves open.

    Args:
        unknown: share of the valid scene, 0-1.
        measured_masks: as for ``mask_numbers``; they tell the size of the scene.
    """
    texts = [share_text(unknown)]
    for measured in measured_masks[:1]:
        scale = unknown / measured["fraction"]
        area = measured["area_m2"]
        texts.append(area_text(None if area is None else area * scale, measured["pixels"] * scale))
    return set(all_numbers(" ".join(texts)))


def index_numbers(evidence: dict[str, dict[str, float | None]]) -> set[str]:
    """Index means, thresholds and contrasts of a mask, without their sign."""
    numbers = set()
    for values in evidence.values():
        inside = values["inside"]
        outside = values["outside"]
        means = [inside, outside, values["threshold"]]
        stated = [value for value in means if value is not None]
        if inside is not None and outside is not None:
            stated.append(inside - outside)
        numbers |= {f"{value:.2f}".lstrip("-") for value in stated}
    return numbers
