"""Settings of the training stages: a frozen dataclass per stage, read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from spex.errors import ConfigError
from spex.model.config import SIZES

LOG_EVERY = 20
"""Optimiser steps per row of the log."""

Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
Factor = Annotated[float, Ge(0)]

MASK_LOSSES = {"bce": 2.0, "dice": 1.0, "presence": 0.2}
CLASS_LOSSES = {f"class_{name}": weight for name, weight in MASK_LOSSES.items()}


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What every stage needs."""

    stage: str
    """Name of the stage."""
    data: str
    """Folder of SPIE records, as ``spex spie build`` writes it."""
    out: str
    """Folder of the run: checkpoints, logs, samples. An interrupted run resumes from there."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of all random draws."""
    max_minutes: Positive = 60.0
    """Wall-clock budget, minutes. The learning rate follows a cosine over it, so a run ends by
    itself on any machine."""
    max_steps: Count = 1_000_000
    """Upper bound on optimiser steps. The schedule ends with whichever bound comes first."""
    batch_size: Count = 8
    """Records per process and forward pass."""
    gradient_accumulation_steps: Count = 1
    """Batches per optimiser step. Their gradients are averaged, for the memory of a single batch. A
    loss term that is a mean over tokens or known pixels is averaged batch by batch."""
    gradient_checkpointing: bool = False
    """Whether the backward pass recomputes activations: less memory, a third more time."""
    learning_rate: Positive = 6e-4
    """Peak learning rate of AdamW."""
    lr_scale: dict[str, Factor] = field(default_factory=dict)
    """Factor on the learning rate per part of the model (``language: 0.1``), 1 where not given; 0
    freezes the part."""
    weight_decay: Factor = 0.02
    """Weight decay of AdamW; none on vectors."""
    loss_weights: dict[str, Factor] = field(default_factory=dict)
    """Weight of each loss term of the stage; 1 where not given."""
    threads: Count = 2
    """CPU threads of torch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the forward pass (weights stay in fp32). ``auto`` is bf16 where the hardware
    supports it."""
    save_minutes: Annotated[float, Ge(0)] = 10.0
    """Least time between checkpoints, minutes."""
    keep_checkpoints: Count = 1
    """Number of checkpoints kept: the newest as ``checkpoint``, earlier ones by their step."""

    def __post_init__(self) -> None:
        """Refuse weights of loss terms that the stage does not have.

        Raises:
            ConfigError: ``loss_weights`` names another term.
        """
        terms = loss_terms(type(self))
        if unknown := sorted(set(self.loss_weights) - set(terms)):
            raise ConfigError(
                f"loss_weights has no term {unknown[0]!r} in stage {self.stage}; "
                f"give {', '.join(terms)}"
            )


@dataclass(frozen=True, kw_only=True)
class ValidatedSettings(StageSettings):
    """What stages need that measure their checkpoints on validation places."""

    eval_steps: Annotated[int, Ge(0), MultipleOf(LOG_EVERY)] = 0
    """Optimiser steps between validations, a multiple of 20; 0 for none. Each writes a checkpoint
    and samples. The best checkpoint is kept as ``best``."""
    eval_records: Count = 32
    """Records of validation places that each validation measures on."""
    early_stopping_patience: Annotated[int, Ge(0)] = 0
    """Validations without a new best after which the run ends; 0 for never."""

    def __post_init__(self) -> None:
        """Refuse patience without validations.

        Raises:
            ConfigError: ``early_stopping_patience`` is set and ``eval_steps`` is 0.
        """
        super().__post_init__()
        if self.early_stopping_patience and not self.eval_steps:
            raise ConfigError(
                f"early_stopping_patience={self.early_stopping_patience} needs validations; "
                "set eval_steps"
            )


@dataclass(frozen=True, kw_only=True)
class ModelSettings(ValidatedSettings):
    """What stages need that start from a whole model."""

    init_from: str | None = None
    """Checkpoint to start from; None starts a new model of ``model_size``."""
    vision_from: str | None = None
    """Checkpoint whose parts other than the language model replace those of the start."""
    encoder_from: str | None = None
    """Checkpoint of stage pretrain whose encoder replaces that of the start."""
    model_size: str = "base"
    """Size of a new model, of ``spex.model.config.SIZES``."""
    tokenizer: str | None = None
    """Folder of the tokenizer of a new model (``spex train tokenizer`` makes one)."""
    language_model: str | None = None
    """Language model of a new model: a folder or Hugging Face id of any causal one; None takes that
    of ``model_size``."""
    quantization_bits: Literal[4, 8, None] = None
    """Bits of the frozen weights of ``language_model`` (a CUDA device and bitsandbytes); None keeps
    them as they are."""

    def __post_init__(self) -> None:
        """Refuse a size that there is not.

        Raises:
            ConfigError: ``model_size`` is unknown.
        """
        super().__post_init__()
        require_size(self.model_size)


@dataclass(frozen=True, kw_only=True)
class TunedSettings(ModelSettings):
    """What stages need that can train the language model."""

    tune: Literal["all", "lora", "none"] = "all"
    """Which weights of the language model are trained: all, lora (low-rank pairs beside its layers)
    or none."""
    lora_rank: Count = 16
    """Rank of the pairs."""

    def __post_init__(self) -> None:
        """Refuse to train quantised weights.

        Raises:
            ConfigError: ``quantization_bits`` is set and ``tune`` is ``all``.
        """
        super().__post_init__()
        if self.quantization_bits and self.tune == "all":
            raise ConfigError(
                f"quantization_bits={self.quantization_bits}: quantised weights cannot be trained; "
                "set tune to lora or none"
            )


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """What stages need that draw crops from labelled or unlabelled images."""

    crop_size: Count = 128
    """Side of the training crops, pixels."""
    source_weights: dict[str, Factor] = field(default_factory=dict)
    """How often records of a source are drawn, by the beginning of its name; 1 where not given."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(CropSettings, ValidatedSettings):
    """Stage pretrain: the encoder as a masked autoencoder, from pixels alone."""

    stage: Literal["pretrain"] = "pretrain"
    """Name of the stage."""
    init_from: str | None = None
    """Checkpoint of this stage to start from; None starts a new encoder of ``model_size``."""
    model_size: str = "base"
    """Size of a new encoder, of ``spex.model.config.SIZES``."""
    mask_ratio: Annotated[float, Gt(0), Lt(1)] = 0.6
    """Share of each image that is hidden from the encoder."""
    loss_weights: dict[str, Factor] = field(
        default_factory=lambda: {"angle": 1.0, "charbonnier": 1.0}
    )
    """Weights of the spectral angle and of the Charbonnier distance."""

    def __post_init__(self) -> None:
        """Refuse a size that there is not.

        Raises:
            ConfigError: ``model_size`` is unknown.
        """
        super().__post_init__()
        require_size(self.model_size)


@dataclass(frozen=True, kw_only=True)
class MaskSettings(CropSettings, ModelSettings):
    """Stage masks: encoder and mask decoder from labels."""

    stage: Literal["masks"] = "masks"
    """Name of the stage."""
    evidence_map_dropout: Share = 1 / 6
    """Share of crops without evidence maps."""
    loss_weights: dict[str, Factor] = field(default_factory=lambda: dict(MASK_LOSSES))
    """Weights of cross-entropy and Dice of the masks, and of the presence of classes."""


@dataclass(frozen=True, kw_only=True)
class LanguageSettings(TunedSettings):
    """Stage language: the language model from conversations, without images."""

    stage: Literal["language"] = "language"
    """Name of the stage."""
    evidence_text_dropout: Share = 0.5
    """Share of conversations drawn from those built without evidence text."""
    loss_weights: dict[str, Factor] = field(default_factory=lambda: {"text": 1.0})
    """Weight of the cross-entropy of the answers."""


@dataclass(frozen=True, kw_only=True)
class AlignSettings(CropSettings, TunedSettings):
    """Stage align: projector and aggregation from captions of the evidence."""

    stage: Literal["align"] = "align"
    """Name of the stage."""
    loss_weights: dict[str, Factor] = field(default_factory=lambda: {"text": 1.0})
    """Weight of the cross-entropy of the captions."""


@dataclass(frozen=True, kw_only=True)
class InstructSettings(CropSettings, TunedSettings):
    """Stage instruct: all parts together, from scenes with conversations."""

    stage: Literal["instruct"] = "instruct"
    """Name of the stage."""
    evidence_text_dropout: Share = 0.5
    """Share of batches drawn from conversations built without evidence text."""
    evidence_map_dropout: Share = 1 / 6
    """Share of crops without evidence maps."""
    loss_weights: dict[str, Factor] = field(
        default_factory=lambda: {"text": 1.0, **MASK_LOSSES, **CLASS_LOSSES, "teacher": 1.0}
    )
    """Weights of the answers (text), of the masks of their spans, of the masks of the class prompts
    (``class_``), and of the distance between the prompts of both (teacher)."""


@dataclass(frozen=True, kw_only=True)
class AdaptSettings(StageSettings):
    """Stage adapt: a region or a class from a few tiles, as low-rank pairs."""

    stage: Literal["adapt"] = "adapt"
    """Name of the stage."""
    data: str = ""
    """Folder of the tiles; the command gives it."""
    out: str = ""
    """Folder of the adapter; the command gives it."""
    crop_size: Count = 128
    """Side of the training crops, pixels."""
    lora_rank: Count = 16
    """Rank of the pairs."""
    loss_weights: dict[str, Factor] = field(
        default_factory=lambda: {**MASK_LOSSES, "keep": 1.0, "keep_presence": 1.0}
    )
    """Weights of the labelled masks, and of staying as before elsewhere (keep)."""


STAGES: dict[str, type[StageSettings]] = {
    "pretrain": PretrainSettings,
    "masks": MaskSettings,
    "language": LanguageSettings,
    "align": AlignSettings,
    "instruct": InstructSettings,
    "adapt": AdaptSettings,
}
"""Settings of each stage, by its name."""


def loss_terms(kind: type[StageSettings]) -> list[str]:
    """The names of the loss terms of a stage."""
    (weights,) = (item for item in fields(kind) if item.name == "loss_weights")
    assert callable(weights.default_factory)
    return list(weights.default_factory())


def require_size(model_size: str) -> None:
    """Refuse a size of model that there is not.

    Raises:
        ConfigError: ``model_size`` is unknown.
    """
    if model_size not in SIZES:
        raise ConfigError(f"model_size={model_size!r}; give {', '.join(SIZES)}")
