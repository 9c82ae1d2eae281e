"""A font for any text: the one built into Pillow, else one of the system with every glyph."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

OMITTED = "[...]"
"""Stands for words that no font of this system can draw."""

_SUFFIXES = (".ttf", ".otf", ".ttc")
_UNASSIGNED = "\U0010ffff"  # no font has a glyph for it: it is drawn as "missing"
_PLAIN = str.maketrans("²×·–—’‘“”", "2x.--''\"\"")  # near equals that the built-in font has


def text_font(text: str, size: int) -> tuple[str, Font]:
    """The text as it can be drawn, and the font to draw it with.

    ASCII text is drawn with the built-in font, on every system alike. Words that no font covers
    are replaced by ``OMITTED``.

    Args:
        text: one line.
        size: height of the font, pixels.
    """
    builtin = ImageFont.load_default(size)
    for variant in (text, text.translate(_PLAIN)):
        if _covers(builtin, variant):
            return variant, builtin
    font = _system_font(text, size)
    if font is not None:
        return text, font
    words = [word if _covers(builtin, word) else OMITTED for word in text.split()]
    kept = [word for i, word in enumerate(words) if word != OMITTED or words[i - 1 : i] != [word]]
    return " ".join(kept), builtin


@lru_cache(maxsize=64)
def _system_font(text: str, size: int) -> Font | None:
    if not features.check("raqm") and any(_needs_shaping(character) for character in text):
        return None
    for path in font_files():
        font = _open_font(path, size)
        if font is not None and _covers(font, text):
            return font
    return None


def _open_font(path: Path, size: int) -> Font | None:
    try:
        return ImageFont.truetype(path, size)
    except OSError:  # not a scalable font
        return None


def _needs_shaping(character: str) -> bool:
    """Whether a character is drawn wrongly without text shaping: right-to-left or combining."""
    return unicodedata.bidirectional(character) in ("R", "AL") or unicodedata.category(
        character
    ) in ("Mn", "Mc")


def _covers(font: Font, text: str) -> bool:
    """Whether the font has a glyph for every character."""
    missing = _glyph(font, _UNASSIGNED)
    visible = {character for character in text if not character.isspace()}
    return all(_glyph(font, character) != missing for character in visible)


def _glyph(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)


@lru_cache(maxsize=1)
def font_files() -> tuple[Path, ...]:
    """Font files of the system, upright sans-serif ones first."""
    found = []
    for folder in _font_folders():
        for root, _, names in os.walk(folder):
            found += [Path(root, name) for name in names if name.lower().endswith(_SUFFIXES)]
    return tuple(sorted(found, key=_rank))


def _rank(path: Path) -> tuple[int, str]:
    name = path.stem.lower()
    styles = ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "serif", "mono")
    return sum(style in name for style in styles) + ("sans" not in name), name


def _font_folders() -> list[Path]:
    home = Path.home()
    data = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(os.pathsep)
    folders = [Path(folder, "fonts") for folder in data if folder]
    folders += [home / ".local/share/fonts", home / ".fonts"]
    folders += [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if "WINDIR" in os.environ:
        folders.append(Path(os.environ["WINDIR"], "Fonts"))
    return folders
