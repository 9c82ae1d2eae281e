"""``spex train adapt``: from a folder of scenes and labels to an adapter and a report, within minutes.

Everything lies below ``OUT/work`` until it is finished; the same command goes on where an interrupted one stopped.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from spex.engine.methods import RulesPredictor
from spex.errors import ConfigError
from spex.evaluate import QueryMethod
from spex.evidence.class_additions import added_classes
from spex.evidence.classes import classes
from spex.model.adapter import read_adapter
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.records import SpieRecord
from train.adapt import stage as adapter_stage
from train.adapt.comparison import (
    MOST_CHANGED,
    MOST_LOST,
    Compared,
    changed,
    lost,
    picture,
    sample_case,
    write_report,
)
from train.adapt.region import LabelOptions, RegionRecords, held_out, records_of, surveys
from train.settings import AdaptSettings

log = logging.getLogger(__name__)
_MEASURING = (
    0.1  # of the time, before and after each, for the region and again for what is to be kept
)
_MARGIN = 1.3  # measuring afterwards may take this much longer


@dataclass(frozen=True)
class AdaptTask:
    """What one adapter is made of: folders of the region, of what checks it, and of what is to be kept."""

    data: Path
    out: Path
    given: LabelOptions = field(default_factory=LabelOptions)
    base: str | None = None
    check: Path | None = None
    keep: Path | None = None


def adapt(
    task: AdaptTask, settings: AdaptSettings, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Make the adapter ``task.out`` with its report, within ``settings.max_minutes``; return what ``report.json`` holds.

    Raises:
        ConfigError: ``task.out`` holds an adapter already, or the beginnings of another one.
        RecordError: the scenes or labels cannot be used, or are too few.
        ModelError: no such base model.
    """
    began = time.monotonic()
    work = task.out / "work"
    _claim(task, settings, work)
    region, kept = _data(task, work)
    predictor = load(task.base)
    say(f"{len(region.learned)} tiles to learn from; held out: {region.held_out}")
    known = [name for name in classes() if name not in added_classes()]
    limit = 60 * settings.max_minutes * _MEASURING
    here, there = (
        Compared.of(region.checked),
        Compared.of([record for record in kept if record.split == "val"]),
    )
    here.ask({"index rules": RulesPredictor(), "before": predictor}, limit)
    there.ask({"before": predictor}, limit)
    sample, before = sample_case(adapter_stage.sample_halves()[1], predictor, known)
    told = region.held_out
    if len(here.cases) < len(region.checked):
        told += f", of which {len(here.cases)} were measured in the time there is"
    measuring = time.monotonic() - began
    say(f"measured before, {(time.monotonic() - began) / 60:.1f} minutes; learning")
    made = _learned(task, settings, predictor, region, kept, measuring, work)
    say(f"learned, {(time.monotonic() - began) / 60:.1f} minutes; measuring")
    learned = read_adapter(made)
    about = {**learned.about, "tiles": len(region.learned), "settings": asdict(settings)}
    replace(learned, about=about).save(task.out)
    after = load(task.base, adapter=task.out)
    shares = changed(sample, before, QueryMethod(after)(sample))
    here.ask({"after": after})
    there.ask({"after": after})
    losses = lost([*here.rows(), *there.rows()], added_classes())
    beyond = [name for name, loss in losses.items() if loss > MOST_LOST]
    beyond += [f"sample/{name}" for name, share in shares.items() if share > MOST_CHANGED]
    shown = _shown(here)
    picture(here, shown, task.out / "before_after.png")
    document = {
        "adapter": task.out.name,
        "base": {"name": predictor.name, "sha256": predictor.sha256},
        "new": [
            name for name in added_classes() if any(row["class"] == name for row in here.rows())
        ],
        "tiles": len(region.learned),
        "held_out": told,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "steps": about["steps"],
        "bytes": (task.out / "adapter.safetensors").stat().st_size,
        "scores": here.rows(),
        "kept": there.rows(),
        "forgetting": {"lost": losses, "changed": shares, "beyond": beyond},
    }
    write_report(
        task.out,
        document,
        {"on the held-out tiles": here.scores, "on what is to be kept": there.scores},
    )
    shutil.rmtree(work)
    return document


def _claim(task: AdaptTask, settings: AdaptSettings, work: Path) -> None:
    """See that the folder is free, or begun by the same command."""
    if (task.out / "report.json").exists():
        raise ConfigError(
            f"{task.out} holds an adapter already; give another folder, or remove this one"
        )
    told = json.loads(
        json.dumps([asdict(task), asdict(settings) | {"max_minutes": None}], default=str)
    )
    path = work / "task.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != told:
        raise ConfigError(
            f"{task.out} was begun with other data or settings; give another folder, or remove this one"
        )
    work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _data(task: AdaptTask, work: Path) -> tuple[RegionRecords, list[SpieRecord]]:
    records = surveys(records_of(task.data, work, task.given))
    region = held_out(records, surveys(task.check) if task.check else None)
    return region, surveys(task.keep) if task.keep else []


def _learned(
    task: AdaptTask, settings: AdaptSettings, predictor: ModelPredictor, region: RegionRecords, kept: list[SpieRecord],
    measuring: float, work: Path,
) -> Path:  # fmt: skip
    """The folder of the adapter as trained. What a run began with stands in ``run.yaml``, so that it can go on."""
    path, run = work / "run.yaml", work / task.out.name
    if path.exists():
        stage = AdaptSettings(**yaml.safe_load(path.read_text(encoding="utf-8")))
    else:
        left = settings.max_minutes - (1 + _MARGIN) * measuring / 60
        if left <= 0:
            raise ConfigError(
                f"{settings.max_minutes:g} minutes are too few: measuring alone takes {measuring / 30:.1f}"
            )
        stage = replace(settings, data=str(task.data), out=str(run), max_minutes=left)
        path.write_text(yaml.safe_dump(asdict(stage)), encoding="utf-8")
    finished = work / "learned"
    if not finished.exists():
        replayed = [record for record in kept if record.split == "train"]
        adapter_stage.train(stage, predictor, region.learned, replayed)
        finished.touch()
    return run / "checkpoint"


def _shown(compared: Compared) -> str:
    """The class that the picture is of: a new one, else the one with the most pixels."""
    rows = sorted(compared.rows(), key=lambda row: (row["class"] in added_classes(), row["pixels"]))
    return str(rows[-1]["class"])
