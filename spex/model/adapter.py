"""Adapters: what a model learned of a region or a class, as low-rank pairs beside its weights.

Only the masks of the learned classes are made with the pairs. All others stay as the base model
makes them. An adapter is a folder of two files. ``adapter.safetensors`` has, per adapted layer,
``NAME.down`` (rank, inputs) and ``NAME.up`` (outputs, rank) in bfloat16, the scale within ``up``.
The layer's weight becomes ``W + up @ down`` (Hu et al., "LoRA", arXiv 2106.09685). ``adapter.json``
states the weights it belongs to, the classes it learned and added, and how it was made.
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
_WEIGHTS_FILE = "adapter.safetensors"
_DOCUMENT_FILE = "adapter.json"


@dataclass(frozen=True)
class Adapter:
    """Low-rank pairs by layer, and what they belong to.

    Attributes:
        name: of the adapter, written into the results.
        base: sha256 of the base model's weights.
        pairs: ``down`` (rank, inputs) and ``up`` (outputs, rank) of each adapted layer.
        learned: classes whose masks it makes.
        classes: entries that it adds to ``classes.yaml``.
        about: how it was made, for people.
        sha256: of its files; empty before it is saved.
    """

    name: str
    base: str
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    learned: tuple[str, ...]
    classes: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def save(self, folder: Path) -> None:
        """Write both files into a folder; a reader never finds one half written."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for name, (down, up) in self.pairs.items():
            tensors[f"{name}.down"] = down.to(torch.bfloat16).contiguous()
            tensors[f"{name}.up"] = up.to(torch.bfloat16).contiguous()
        document = {
            "format": FORMAT,
            "base": self.base,
            "learned": self.learned,
            "classes": self.classes,
            "about": self.about,
        }
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        partial_weights = folder / f"{_WEIGHTS_FILE}.part"
        partial_document = folder / f"{_DOCUMENT_FILE}.part"
        save_file(tensors, partial_weights)
        partial_document.write_text(text, encoding="utf-8")
        partial_weights.replace(folder / _WEIGHTS_FILE)
        partial_document.replace(folder / _DOCUMENT_FILE)

    @torch.no_grad()
    def applied_to(self, model: SpexModel, base: str) -> SpexModel:
        """A twin of the model with the pairs added; it shares all other weights with the model.

        The classes of the adapter are known to SPEX from then on.

        Args:
            model: the base model; it stays as it is.
            base: sha256 of its weights.

        Raises:
            ModelError: the adapter was made for other weights, or for other layers.
            ConfigError: a class of one of its names is already known with another definition.
        """
        if base != self.base:
            raise ModelError(
                f"the adapter {self.name} belongs to weights with sha256 {self.base[:12]}..., "
                f"this model's is {base[:12]}...; use the model it was made for, or adapt this one"
            )
        add_classes(self.classes, f"adapter {self.name}")
        twin = copy.copy(model)
        twin._modules = dict(model._modules)
        for part in PARTS:
            setattr(twin, part, copy.deepcopy(model.get_submodule(part)))
        parameters = dict(twin.named_parameters())
        for name, (down, up) in self.pairs.items():
            weight = parameters.get(f"{name}.weight")
            if name.partition(".")[0] not in PARTS or not _fits(weight, down, up):
                raise ModelError(
                    f"the adapter {self.name} does not fit layer {name!r} of this model; "
                    "adapt it again"
                )
            assert weight is not None
            weight.add_((up.float() @ down.float()).view_as(weight).to(weight))
        return twin


def _fits(weight: Tensor | None, down: Tensor, up: Tensor) -> bool:
    """Whether a layer's weight, (outputs, ...), takes a pair."""
    if weight is None:
        return False
    outputs, inputs = len(weight), weight[0].numel()
    return (len(up), down.shape[1], up.shape[1]) == (outputs, inputs, len(down))


def read_adapter(path: str | os.PathLike[str]) -> Adapter:
    """Read the folder of an adapter; its name is the folder's.

    Raises:
        ModelError: not there, damaged, or of a format that this version does not read.
    """
    folder = Path(path)
    weights_file = folder / _WEIGHTS_FILE
    document_file = folder / _DOCUMENT_FILE
    if not document_file.is_file() or not weights_file.is_file():
        raise ModelError(
            f"no adapter at {folder} ({_DOCUMENT_FILE} or {_WEIGHTS_FILE} is missing); "
            "make one with: spex train adapt"
        )
    try:
        document = json.loads(document_file.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ModelError(
                f"the adapter {folder} has format {document['format']!r} and this version reads "
                f"{FORMAT}; adapt again, or use the version of SPEX that wrote it"
            )
        tensors = load_file(weights_file)
        layers = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
        digest = hashlib.sha256(weights_file.read_bytes() + document_file.read_bytes())
        return Adapter(
            name=folder.resolve().name,
            base=document["base"],
            pairs={name: (tensors[f"{name}.down"], tensors[f"{name}.up"]) for name in layers},
            learned=tuple(document["learned"]),
            classes=document["classes"],
            about=document["about"],
            sha256=digest.hexdigest(),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the adapter {folder} cannot be read ({error}); copy it again, or adapt again"
        ) from error
