"""Which language a request is in."""

from __future__ import annotations

import pytest

from spex.query.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("lakes larger than 2 ha", "en"),
        ("lagos de más de 2 ha", "es"),
        ("lagos com mais de 2 ha", "pt"),
        ("les lacs de plus de 2 ha", "fr"),
        ("Seen über 2 ha im Norden", "de"),
        ("大于2公顷的湖泊", "zh"),
        ("只要 top 3 的 burn scar", "zh"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_words_of_no_language_are_of_the_conversation() -> None:
    assert [language_of("NDVI > 0.5", usual) for usual in ("de", "fr")] == ["de", "fr"]
