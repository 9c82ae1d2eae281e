"""``spex train adapt``: from a folder of scenes and labels to an adapter and a report, in minutes.

All intermediate files are in ``OUT/work`` until the adapter is finished. The same command resumes
an interrupted run.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from spex.engine.methods import RulesPredictor
from spex.errors import ConfigError
from spex.evaluate import Case, PredictorMethod
from spex.evidence.class_additions import added_classes
from spex.evidence.classes import classes
from spex.model.adapter import read_adapter
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.records import SpieRecord
from train.adapt import training
from train.adapt.adapter_report import draw_before_after, write_report
from train.adapt.comparison import (
    MAX_CHANGED_SHARE,
    MAX_IOU_LOSS,
    CaseComparison,
    changed_shares,
    iou_losses,
    sample_case,
)
from train.adapt.region_crops import sample_halves
from train.adapt.region_records import (
    LabelOptions,
    RegionRecords,
    hold_out,
    read_survey_records,
    region_folder,
)
from train.run.validation import ProbabilityMaps
from train.settings import AdaptSettings

# Share of the time for each of four measurements: before and after, of the region and of the
# records to keep.
_MEASURING_SHARE = 0.1
_MEASURING_MARGIN = 1.3  # measuring afterwards may take this much longer


@dataclass(frozen=True)
class AdaptTask:
    """What one adapter is made of.

    Attributes:
        data: Folder of the region: scenes and labels, or SPIE records.
        out: Folder of the adapter.
        label_options: How scenes and labels are read.
        base: Base model; None is the shipped one.
        check: SPIE records of other places to measure on; ``data`` is then all learned from.
        keep: SPIE records on which accuracy must not drop.
    """

    data: Path
    out: Path
    label_options: LabelOptions = field(default_factory=LabelOptions)
    base: str | None = None
    check: Path | None = None
    keep: Path | None = None


@dataclass
class _Measurements:
    """What is measured before and after training.

    Attributes:
        region: Held-out tiles of the region.
        kept: Validation tiles of the records to keep.
        sample: The half of the sample scene that is not replayed.
        sample_before: Its probability maps before training.
    """

    region: CaseComparison
    kept: CaseComparison
    sample: Case
    sample_before: ProbabilityMaps


def adapt(
    task: AdaptTask, settings: AdaptSettings, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Make an adapter and its report.

    Args:
        task: What it is made of.
        settings: How it is trained; ``max_minutes`` is the time for everything.
        say: Takes lines on the progress.

    Returns:
        The content of ``report.json``.

    Raises:
        ConfigError: ``task.out`` holds an adapter already, or an unfinished one of another task.
        RecordError: The scenes or labels cannot be used, or are too few.
        ModelError: There is no such base model.
    """
    began = time.monotonic()

    def minutes() -> float:
        return (time.monotonic() - began) / 60

    work = task.out / "work"
    _claim(task, settings, work)
    region, kept = _read_records(task, work)
    predictor = load(task.base)
    say(f"{len(region.training)} tiles to learn from; held out: {region.split_description}")
    measurements = _measure_before(predictor, region, kept, settings)
    measuring_minutes = minutes()
    say(f"measured before, {measuring_minutes:.1f} minutes; learning")
    trained = _train(task, settings, predictor, region, kept, measuring_minutes, work)
    say(f"learned, {minutes():.1f} minutes; measuring")
    adapter = read_adapter(trained)
    about = {**adapter.about, "tiles": len(region.training), "settings": asdict(settings)}
    replace(adapter, about=about).save(task.out)
    changed = _measure_after(load(task.base, adapter=task.out), measurements)
    draw_before_after(measurements.region, task.out / "before_after.png")
    document = {
        "adapter": task.out.name,
        "base": {"name": predictor.name, "sha256": predictor.sha256},
        "new": _new_classes(measurements.region),
        "tiles": len(region.training),
        "held_out": _held_out_description(region, measurements.region),
        "minutes": round(minutes(), 2),
        "steps": about["steps"],
        "bytes": (task.out / "adapter.safetensors").stat().st_size,
        "scores": measurements.region.score_rows(),
        "kept": measurements.kept.score_rows(),
        "forgetting": _degradation(measurements, changed),
    }
    tables = {
        "on the held-out tiles": measurements.region.scores,
        "on the records to keep": measurements.kept.scores,
    }
    write_report(task.out, document, tables)
    shutil.rmtree(work)
    return document


def _claim(task: AdaptTask, settings: AdaptSettings, work: Path) -> None:
    """Require that the output folder is free, or was begun by the same command."""
    if (task.out / "report.json").exists():
        raise ConfigError(f"{task.out} holds an adapter already; give another folder or remove it")
    begun_with = [asdict(task), asdict(settings) | {"max_minutes": None}]
    begun_with = json.loads(json.dumps(begun_with, default=str))
    path = work / "task.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != begun_with:
        raise ConfigError(
            f"{task.out} was begun with other data or settings; give another folder or remove it"
        )
    work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(begun_with, indent=1), encoding="utf-8")


def _read_records(task: AdaptTask, work: Path) -> tuple[RegionRecords, list[SpieRecord]]:
    """The records of the region, and those to keep."""
    records = read_survey_records(region_folder(task.data, work, task.label_options))
    check = read_survey_records(task.check) if task.check else None
    kept = read_survey_records(task.keep) if task.keep else []
    return hold_out(records, check), kept


def _measure_before(
    predictor: ModelPredictor,
    region: RegionRecords,
    kept: list[SpieRecord],
    settings: AdaptSettings,
) -> _Measurements:
    max_seconds = 60 * settings.max_minutes * _MEASURING_SHARE
    region_cases = CaseComparison.from_records(region.held_out)
    kept_cases = CaseComparison.from_records([record for record in kept if record.split == "val"])
    region_cases.query({"index rules": RulesPredictor(), "before": predictor}, max_seconds)
    kept_cases.query({"before": predictor}, max_seconds)
    known = [name for name in classes() if name not in added_classes()]
    sample, sample_before = sample_case(sample_halves()[1], predictor, known)
    return _Measurements(region_cases, kept_cases, sample, sample_before)


def _measure_after(predictor: ModelPredictor, measurements: _Measurements) -> dict[str, float]:
    """Query the adapted model; return the share of changed pixels of the sample, by class."""
    sample_after = PredictorMethod(predictor)(measurements.sample)
    measurements.region.query({"after": predictor})
    measurements.kept.query({"after": predictor})
    return changed_shares(measurements.sample, measurements.sample_before, sample_after)


def _degradation(measurements: _Measurements, changed: dict[str, float]) -> dict[str, Any]:
    """IoU losses, shares of changed pixels, and what is beyond the limits."""
    rows = [*measurements.region.score_rows(), *measurements.kept.score_rows()]
    losses = iou_losses(rows, added_classes())
    beyond = [name for name, loss in losses.items() if loss > MAX_IOU_LOSS]
    beyond += [f"sample/{name}" for name, share in changed.items() if share > MAX_CHANGED_SHARE]
    return {"lost": losses, "changed": changed, "beyond": beyond}


def _new_classes(comparison: CaseComparison) -> list[str]:
    measured = {row["class"] for row in comparison.score_rows()}
    return [name for name in added_classes() if name in measured]


def _held_out_description(region: RegionRecords, comparison: CaseComparison) -> str:
    if len(comparison.cases) == len(region.held_out):
        return region.split_description
    return (
        f"{region.split_description}, of which {len(comparison.cases)} were measured in the "
        "time available"
    )


def _train(
    task: AdaptTask,
    settings: AdaptSettings,
    predictor: ModelPredictor,
    region: RegionRecords,
    kept: list[SpieRecord],
    measuring_minutes: float,
    work: Path,
) -> Path:
    """Train in the time that measuring leaves; return the folder of the trained adapter.

    The settings of a run are kept in ``run.yaml``, so that it can be resumed.
    """
    settings_file = work / "run.yaml"
    run_folder = work / task.out.name
    if settings_file.exists():
        begun_with = yaml.safe_load(settings_file.read_text(encoding="utf-8"))
        stage_settings = AdaptSettings(**begun_with)
    else:
        minutes_left = settings.max_minutes - (1 + _MEASURING_MARGIN) * measuring_minutes
        if minutes_left <= 0:
            raise ConfigError(
                f"{settings.max_minutes:g} minutes are too few: measuring alone takes "
                f"{2 * measuring_minutes:.1f}; give more minutes"
            )
        stage_settings = replace(
            settings, data=str(task.data), out=str(run_folder), max_minutes=minutes_left
        )
        settings_file.write_text(yaml.safe_dump(asdict(stage_settings)), encoding="utf-8")
    finished = work / "learned"
    if not finished.exists():
        replayed = [record for record in kept if record.split == "train"]
        training.train(stage_settings, predictor, region.training, replayed)
        finished.touch()
    return run_folder / "checkpoint"
