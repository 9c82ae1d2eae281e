"""A checkpoint of another version or with a foreign tokenizer is refused with a clear reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import spex
from spex.errors import ModelError


@pytest.fixture
def checkpoint(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small / "start", tmp_path / "checkpoint"))


def test_another_version_is_named_with_this_one(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    about = json.loads(path.read_text())
    assert about["format_version"] == 2 and spex.load(str(checkpoint))
    path.write_text(json.dumps({**about, "format_version": 99}))
    with pytest.raises(ModelError, match="it has format 99, and this version"):
        spex.load(str(checkpoint))


def test_a_tokenizer_that_lacks_the_special_tokens_is_refused(checkpoint: Path) -> None:
    path = checkpoint / "tokenizer.json"
    words = json.loads(path.read_text())
    words["added_tokens"] = [one for one in words["added_tokens"] if one["content"] != "</seg>"]
    words["model"]["vocab"].pop("</seg>", None)
    path.write_text(json.dumps(words))
    (checkpoint / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    with pytest.raises(ModelError, match="special token '</seg>' as None"):
        spex.load(str(checkpoint))
