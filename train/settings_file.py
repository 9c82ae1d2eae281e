"""Settings as YAML files: read with one clear error for each mistake, and saved."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from spex.errors import ConfigError
from train.settings import STAGES, StageSettings

SettingsClass = TypeVar("SettingsClass")

RENAMED = {
    "start": "init_from",
    "vision": "vision_from",
    "encoder": "encoder_from",
    "language": "language_model",
    "bits": "quantization_bits",
    "size": "model_size",
    "lora": "lora_rank",
    "rank": "lora_rank",
    "minutes": "max_minutes",
    "steps": "max_steps",
    "batch": "batch_size",
    "accumulate": "gradient_accumulation_steps",
    "checkpointing": "gradient_checkpointing",
    "parts": "lr_scale",
    "crop": "crop_size",
    "hidden": "mask_ratio",
    "weights": "source_weights",
    "loss": "loss_weights",
    "keep": "keep_checkpoints",
    "validate": "eval_steps",
    "validate_on": "eval_records",
    "patience": "early_stopping_patience",
}
"""Names of settings in earlier versions, with those of today."""

_EXPECTED = {
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "bool_type": "give true or false",
    "string_type": "give a text",
    "dict_type": "give names with values, for example {{simulated: 0.25}}",
    "list_type": "give a list, for example [1, 2]",
    "literal_error": "give {expected}",
    "greater_than": "give a number above {gt:g}",
    "greater_than_equal": "give a number of at least {ge:g}",
    "less_than": "give a number below {lt:g}",
    "less_than_equal": "give a number of at most {le:g}",
    "multiple_of": "give a multiple of {multiple_of:g}",
}
"""What to give instead, by the type of pydantic's error."""


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read the names and values of a YAML file.

    Args:
        path: The YAML file.
        overrides: ``name=value`` texts that win over the file; values are YAML.

    Raises:
        ConfigError: The file cannot be read, or it or an override does not give names with values.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the settings {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings; give one 'name: value' per line")
    for override in overrides:
        name, separator, value = override.partition("=")
        if not separator:
            raise ConfigError(f"cannot read the setting {override!r}; give name=value")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"cannot read the setting {override!r}: {error}") from error
    return {str(name): value for name, value in values.items()}


def check_values(
    kind: type[SettingsClass], values: Mapping[str, Any], path: str | Path
) -> SettingsClass:
    """Make settings of values, after a check of their names, types and ranges.

    Args:
        kind: A dataclass whose annotations give the types and, by ``annotated_types``, ranges.
        values: What a file and overrides gave.
        path: The file, for messages.

    Raises:
        ConfigError: A name is unknown or missing, or a value has the wrong type or range.
    """
    names = _names(kind)
    types = get_type_hints(kind, include_extras=True)
    checked = {}
    for name, value in values.items():
        if name not in names:
            raise ConfigError(_unknown(name, names, path))
        try:
            checked[name] = TypeAdapter(types[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ConfigError(_message(name, error, path)) from error
    for field in fields(kind):  # type: ignore[arg-type]
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in checked:
            raise ConfigError(f"{path} gives no {field.name}; add it, or {field.name}=VALUE")
    try:
        return kind(**checked)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_settings(
    kind: type[SettingsClass], path: str | Path, overrides: Sequence[str] | None = None
) -> SettingsClass:
    """Read a dataclass from a YAML file and ``name=value`` overrides.

    Raises:
        ConfigError: As :func:`read_values` and :func:`check_values`.
    """
    return check_values(kind, read_values(path, overrides or ()), path)


def load_settings(path: str | Path, overrides: Sequence[str] | None = None) -> StageSettings:
    """Read the settings of a stage.

    Args:
        path: YAML file whose ``stage`` names the stage.
        overrides: ``name=value`` texts that win over the file.

    Returns:
        An instance of the stage's class in ``STAGES``.

    Raises: ConfigError: The file cannot be read, a name is unknown, outdated or missing, or a value
        has the wrong type or range.
    """
    values = read_values(path, overrides or ())
    stage = values.get("stage")
    if stage not in STAGES:
        raise ConfigError(f"stage={stage!r} in {path}; give {', '.join(STAGES)}")
    _require_names_of_stage(values, str(stage), path)
    return check_values(STAGES[stage], values, path)


def _require_names_of_stage(values: Mapping[str, Any], stage: str, path: str | Path) -> None:
    """Refuse names of earlier versions and names that only other stages use."""
    names = _names(STAGES[stage])
    all_names = {name for kind in STAGES.values() for name in _names(kind)}
    for name in values:
        if name in names:
            continue
        if name == "prior_dropout":
            raise ConfigError(_prior_dropout_message(names, path))
        current = RENAMED.get(name, name)
        if current in names:
            raise ConfigError(f"setting {name!r} in {path} is now called {current!r}")
        if current in all_names:
            raise ConfigError(
                f"setting {name!r} in {path} has no effect in stage {stage}; remove it"
            )


def _prior_dropout_message(names: Collection[str], path: str | Path) -> str:
    """What replaces ``prior_dropout``, a third of which was the share of crops without maps."""
    current = [name for name in ("evidence_text_dropout", "evidence_map_dropout") if name in names]
    if not current:
        return f"setting 'prior_dropout' in {path} has no effect in this stage; remove it"
    advice = {
        "evidence_text_dropout": "evidence_text_dropout (the same value)",
        "evidence_map_dropout": "evidence_map_dropout (a third of the value)",
    }
    replacements = " and ".join(advice[name] for name in current)
    return f"setting 'prior_dropout' in {path} is now given as {replacements}"


def _names(kind: type) -> list[str]:
    return [item.name for item in fields(kind)]


def save_settings(settings: StageSettings, folder: str | Path) -> None:
    """Write the resolved settings to ``training.yaml`` in the folder of a run."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(asdict(settings), sort_keys=False)
    Path(folder, "training.yaml").write_text(text, encoding="utf-8")


def _unknown(name: str, names: Sequence[str], path: str | Path) -> str:
    similar = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(similar)}?" if similar else f"known: {', '.join(names)}"
    return f"unknown setting {name!r} in {path}; {hint}"


def _message(name: str, errors: ValidationError, path: str | Path) -> str:
    """The first error of a value as one line: which setting, its value, what to give."""
    error = errors.errors()[0]
    value = error["input"]
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    if error["type"] == "float_type" and _is_number(value):
        expected += f" (YAML reads {value} as text; write {_with_point(value)})"
    parts = ".".join(str(part) for part in (name, *error["loc"]))
    return f"{parts}={value!r} in {path}; {expected}"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _with_point(number: str) -> str:
    """A number such as 1e-4 with the decimal point that YAML needs: 1.0e-4."""
    mantissa, exponent, power = number.partition("e")
    return number if "." in mantissa else f"{mantissa}.0{exponent}{power}"
