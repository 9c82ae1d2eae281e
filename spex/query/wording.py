"""Constraints as people read them, in answers and explanations."""

from __future__ import annotations

import re

from spex.query.constraints import Constraints

_WORDING = {
    "min_area": "at least {}",
    "max_area": "at most {}",
    "where": "in the {}",
    "top": "the {} largest",
    "index": "{}",
    "not": "without {}",
}


def constraints_text(constraints: Constraints) -> str:
    """The constraints of a span in words; empty where there are none."""
    parts = []
    for name, value in constraints.to_dict().items():
        if name == "top" and value == 1:
            parts.append("the largest")
            continue
        text = re.sub(r"(?<=\d)(?=(?:ha|m2|km2|px)$)", " ", str(value)).replace("m2", "m²")
        text = text.replace(":", " ").replace(",", ", ").replace("_", " ")
        parts.append(_WORDING[name].format(text))
    return ", ".join(parts)
