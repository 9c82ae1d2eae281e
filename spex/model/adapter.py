"""Adapters: what a model learned of a region or a class, as low-rank pairs beside the weights of one base model.

Only the masks of the classes learned are made with the pairs: all others stay as the base model has them. A folder of
two files. ``adapter.safetensors`` holds, per adapted layer, ``NAME.down`` (rank, inputs) and ``NAME.up`` (outputs,
rank), bfloat16, the scale within ``up``: the layer's weight becomes ``W + up @ down`` (Hu et al., "LoRA", arXiv
2106.09685). ``adapter.json`` says of which weights, which classes it learned and brings, and how it was made.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spex.errors import ModelError
from spex.evidence.class_additions import add_classes
from spex.model.spex import SpexModel

FORMAT = 1
PARTS = ("condensation", "refiner")
"""Parts of the model that an adapter may change: those between the language model and a mask."""
_WEIGHTS, _ABOUT = "adapter.safetensors", "adapter.json"


@dataclass(frozen=True)
class Adapter:
    """Low-rank pairs by layer, (rank, inputs) and (outputs, rank), and what they belong to.

    Args:
        base: sha256 of the base model's weights. learned: classes whose masks it makes. classes: entries that it adds
            to ``classes.yaml``. about: how it was made, for people. sha256: of its files, once it lies in some.
    """

    name: str
    base: str
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    learned: tuple[str, ...]
    classes: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def save(self, folder: Path) -> None:
        """Write both files into a folder, the weights first, each aside and then renamed."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{name}.{side}": value.to(torch.bfloat16).contiguous()
            for name, pair in self.pairs.items()
            for side, value in zip(("down", "up"), pair, strict=True)
        }
        document = {
            "format": FORMAT, "base": self.base, "learned": self.learned, "classes": self.classes, "about": self.about,
        }  # fmt: skip
        weights, about = folder / f"{_WEIGHTS}.part", folder / f"{_ABOUT}.part"
        save_file(tensors, weights)
        about.write_text(
            json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        weights.replace(folder / _WEIGHTS)
        about.replace(folder / _ABOUT)

    @torch.no_grad()
    def applied_to(self, model: SpexModel, base: str) -> SpexModel:
        """A twin of the model with the pairs added, which shares all other weights; SPEX knows its classes then.

        Raises:
            ModelError: weights other than those it was made for, or layers that do not fit them.
            ConfigError: another class of one of its names is known already.
        """
        if base != self.base:
            raise ModelError(
                f"the adapter {self.name} belongs to weights with sha256 {self.base[:12]}..., this model's is "
                f"{base[:12]}...; give the model it was made for, or adapt this one"
            )
        add_classes(self.classes, f"adapter {self.name}")
        twin = copy.copy(model)
        twin._modules = dict(model._modules)
        for part in PARTS:
            setattr(twin, part, copy.deepcopy(model.get_submodule(part)))
        known = {
            name: weight
            for name, weight in twin.named_parameters()
            if name.partition(".")[0] in PARTS
        }
        for name, (down, up) in self.pairs.items():
            weight = known.get(f"{name}.weight")
            inputs = 0 if weight is None else weight[0].numel()
            if weight is None or (len(up), down.shape[1], up.shape[1]) != (
                len(weight),
                inputs,
                len(down),
            ):
                raise ModelError(
                    f"the adapter {self.name} does not fit layer {name!r} of this model; adapt it again"
                )
            weight.add_((up.float() @ down.float()).view_as(weight).to(weight))
        return twin


def read_adapter(path: str | os.PathLike[str]) -> Adapter:
    """Read the folder of an adapter; its name is the folder's.

    Raises:
        ModelError: not there, damaged, or of a format that this version does not read.
    """
    folder = Path(path)
    if not (folder / _ABOUT).is_file() or not (folder / _WEIGHTS).is_file():
        raise ModelError(
            f"no adapter at {folder} ({_ABOUT} or {_WEIGHTS} is missing); make one with: spex train adapt"
        )
    try:
        document = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ModelError(
                f"the adapter {folder} has format {document['format']!r} and this version reads {FORMAT}; "
                "adapt again, or use the version of SPEX that wrote it"
            )
        tensors = load_file(folder / _WEIGHTS)
        layers = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
        pairs = {name: (tensors[f"{name}.down"], tensors[f"{name}.up"]) for name in layers}
        digest = hashlib.sha256(
            (folder / _WEIGHTS).read_bytes() + (folder / _ABOUT).read_bytes()
        ).hexdigest()
        learned = tuple(document["learned"])
        return Adapter(
            folder.resolve().name,
            document["base"],
            pairs,
            learned,
            document["classes"],
            document["about"],
            digest,
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the adapter {folder} cannot be read ({error}); copy it again, or adapt again"
        ) from error
