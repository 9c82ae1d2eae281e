"""Accuracy on validation places: `make bench-accuracy DATA=... RECORDS=...`.

    python tests/benchmarks/accuracy.py --records RECORDS --data DATA -o OUT

RECORDS is what `python -m instruction_data build` made from DATA (the folder of labelled scenes).
Every chip of the validation places is mapped as any scene is (whole chip as one tile); pixels are
pooled over the chips. Methods, all measured on the same
pixels in the same run:

- rules alone: the index rules of `--method rules`;
- model without evidence: no evidence text, evidence maps zero; model with evidence; model with
  evidence from the label: the evidence text alone is made from the label (an upper bound of what
  a better text could give);
- best index: of all indices, sides and thresholds the one with the highest IoU on the training
  places;
- random forest: on the same bands (aerial chips: also local means and deviations), fitted on
  pixels of the training places, its probability threshold chosen on its out-of-bag votes.

The two last are fitted once and kept in OUT; a second run there uses them again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy.ndimage import uniform_filter
from sklearn.ensemble import RandomForestClassifier

from spex.evaluate import Case, LabelTarget, PredictorMethod, targets
from spex.evidence.indices import available_indices, compute_indices, role_planes
from spex.evidence.scene_evidence import measure
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels, read_records
from spex.scores import Scores

QUERIES = {
    "hls_flood_wc": {
        "water": "open water",
        "tree_cover": "forest",
        "cropland": "cropland",
        "built_up": "built-up land",
        "snow_ice": "snow",
    },
    "naip_ohio_landcover": {
        "building": "buildings",
        "road": "roads",
        "tree_cover": "forest",
        "bare": "bare land",
        "water": "open water",
    },
    "s2_burn_california": {"burned": "burned areas"},
}
SUPPLIED = "water, supplied mask"
PIXELS = 400  # per training chip, for the forest
BINS = 512


def records_of(folder: Path, source: str, split: str) -> Iterator[SpieRecord]:
    for shard in sorted(folder.glob(f"survey_{source}_[0-9]*_{split}.parquet")):
        yield from read_records(shard)


def asked(record: SpieRecord, pixels: Pixels, data: Path) -> tuple[LabelTarget, ...]:
    """The record's targets; for flood chips also the water mask as supplied."""
    found = targets(record, pixels.valid, QUERIES[record.source])
    if record.source != "hls_flood_wc":
        return found
    chip = record.id.removeprefix("hls_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(data / record.source / "labels" / f"{chip}.tif") as label:
            flood = label.read(1) == 1
    return (
        *found,
        LabelTarget(SUPPLIED, "water", QUERIES[record.source]["water"], flood, pixels.valid),
    )


def features(pixels: Pixels, texture: bool) -> np.ndarray[Any, Any]:
    """Features of each pixel, (h * w, features): its bands; for aerial chips also texture."""
    planes = list(pixels.values)
    for size in (5, 15) if texture else ():
        for plane in pixels.values:
            mean = uniform_filter(plane, size)
            planes += [
                mean,
                np.sqrt(np.maximum(uniform_filter(plane * plane, size) - mean * mean, 0)),
            ]
    return np.stack(planes, -1).reshape(-1, len(planes)).astype(np.float32)


def best_cut(inside: np.ndarray[Any, Any], outside: np.ndarray[Any, Any]) -> tuple[float, int]:
    """Highest IoU of "from this bin on" through two histograms, and the bin."""
    hit, false = (np.cumsum(counts[::-1])[::-1] for counts in (inside, outside))
    iou = hit / np.maximum(inside.sum() + false, 1)
    return float(iou.max()), int(iou.argmax())


@dataclass(frozen=True)
class Baselines:
    """The best index and the forest of one source, by target."""

    rules: Mapping[str, tuple[str, float, bool]]
    forest: RandomForestClassifier
    cuts: Mapping[str, float]
    texture: bool

    def index(self, case: Case) -> dict[str, np.ndarray[Any, Any] | None]:
        maps = compute_indices(
            [name for name, _, _ in self.rules.values()], role_planes(case.pixels)
        )
        with np.errstate(invalid="ignore"):
            found = {
                target: ((maps[name] >= cut) if above else (maps[name] < cut)).astype(np.float32)
                for target, (name, cut, above) in self.rules.items()
            }
        return {target.name: found.get(target.name) for target in case.targets}

    def votes(self, case: Case) -> dict[str, np.ndarray[Any, Any] | None]:
        votes = self.forest.predict_proba(features(case.pixels, self.texture))
        shares = [vote[:, 1] for vote in (votes if len(self.cuts) > 1 else [votes])]
        # The cut of each class becomes 0.5, where masks are cut.
        scaled = {
            name: np.interp(share, [0, cut, 1], [0, 0.5, 1])
            .reshape(case.pixels.valid.shape)
            .astype(np.float32)
            for (name, cut), share in zip(self.cuts.items(), shares, strict=True)
        }
        return {target.name: scaled.get(target.name) for target in case.targets}


def fit(records: Path, data: Path, source: str, jobs: int) -> Baselines:
    """Baselines of a source from its training places."""
    rng = np.random.default_rng(0)
    texture = source.startswith("naip")
    histograms: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
    rows, labels = [], []
    for record in records_of(records, source, "train"):
        pixels = load_pixels(record)
        wanted = asked(record, pixels, data)
        names = tuple(target.name for target in wanted)
        planes = role_planes(pixels)
        for index, values in compute_indices(available_indices(planes), planes).items():
            place = np.clip((np.nan_to_num(values, nan=-1) + 1) / 2 * BINS, 0, BINS - 1).astype(int)
            for target in wanted:
                counts = np.stack(
                    [
                        np.bincount(place[target.known & (target.mask == side)], minlength=BINS)
                        for side in (True, False)
                    ]
                )
                histograms[target.name, index] = histograms.get((target.name, index), 0) + counts
        usable = np.flatnonzero(np.logical_and.reduce([target.known for target in wanted]))
        chosen = rng.choice(usable, min(PIXELS, usable.size), replace=False)
        rows.append(features(pixels, texture)[chosen])
        labels.append(np.stack([target.mask.ravel()[chosen] for target in wanted], -1))
    truth = np.concatenate(labels)
    shown = truth.any(0)  # nothing can be learned about a class that no training chip shows
    truth, names = (
        truth[:, shown],
        tuple(name for name, some in zip(names, shown, strict=True) if some),
    )
    rules = {}
    for name in names:
        ranked = []
        for (target, index), counts in histograms.items():
            if target == name:
                ranked.append((*best_cut(*counts), index, True))
                ranked.append((*best_cut(*counts[:, ::-1]), index, False))
        _, place, index, above = max(ranked)
        rules[name] = (index, (place if above else BINS - place) / BINS * 2 - 1, above)
    forest = RandomForestClassifier(
        100, min_samples_leaf=5, oob_score=True, n_jobs=jobs, random_state=0
    )
    forest.fit(np.concatenate(rows), truth if len(names) > 1 else truth[:, 0])
    forest.n_jobs = 1
    votes = forest.oob_decision_function_.reshape(len(truth), 2, len(names))[:, 1]
    cuts = {}
    for name, vote, inside in zip(names, np.nan_to_num(votes).T, truth.T, strict=True):
        sides = [np.histogram(vote[inside == side], 100, (0, 1))[0] for side in (True, False)]
        cuts[name] = max(best_cut(*sides)[1] / 100, 0.01)
    return Baselines(rules, forest, cuts, texture)


_METHODS: dict[str, Any] = {}


def prepare(baselines: Path, checkpoint: str | None, with_model: bool) -> None:
    """Load the methods of one worker."""
    from spex.engine.methods import RulesPredictor

    fitted: dict[str, Baselines] = joblib.load(baselines)
    _METHODS["rules alone"] = PredictorMethod(RulesPredictor())
    if with_model:
        import torch

        from spex.model.loading import load

        torch.set_num_threads(1)
        model = load(checkpoint)
        _METHODS["model without evidence"] = PredictorMethod(load(checkpoint, use_evidence=False))
        _METHODS["model with evidence"] = PredictorMethod(model)
        _METHODS["model with evidence from the label"] = PredictorMethod(model, label_evidence=True)
    _METHODS["best index"] = lambda case: fitted[case.source].index(case)
    _METHODS["random forest"] = lambda case: fitted[case.source].votes(case)


def measure_chip(record: SpieRecord, data: Path) -> Scores:
    """All methods on one chip."""
    pixels = load_pixels(record)
    case = Case(record.id, record.source, pixels, measure(pixels), asked(record, pixels, data))
    scores = Scores()
    scores.add(case, _METHODS)
    return scores


def report(scores: Scores, fitted: Mapping[str, Baselines], facts: dict[str, Any]) -> str:
    """The Markdown page."""
    rules = [
        f"| {source} | {name} | {index} {'>=' if above else '<'} {cut:.2f} |"
        for source, one in fitted.items()
        for name, (index, cut, above) in one.rules.items()
    ]
    parts = [
        "# Accuracy on validation places",
        ", ".join(f"{key} {value}" for key, value in facts.items()),
        "Again: `python tests/benchmarks/accuracy.py --records RECORDS --data DATA -o OUT`; "
        'one chip by hand: `spex extract RECORDS/chips/CHIP.tif "open water" -o OUT`.',
        "## IoU, pixels of all chips pooled",
        scores.table(),
        "## F1",
        scores.table("f1"),
        "## Expected calibration error of the probabilities",
        scores.table("ece", without=("best index", "random forest")),
        "## False alarms: chips without a labelled pixel of the class where some was found",
        scores.table("false_alarms"),
        "## Misses: chips with at least 1 % of the class where none was found",
        scores.table("misses"),
        "## Chips whose bands cannot show the class",
        scores.table("unanswered", without=("best index", "random forest")),
        "## The best index of each class on the training places",
        "\n".join(["| source | class | rule |", "| --- | --- | --- |", *rules]),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, required=True, help="folder of SPIE records")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SPEX_DATA"), help="labelled scenes [SPEX_DATA]"
    )
    parser.add_argument("--model", help="checkpoint; the shipped one if left out")
    parser.add_argument("--baselines-only", action="store_true", help="leave the model out")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th chip only")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for accuracy.md and accuracy.json"
    )
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the labelled scenes are: --data, or the setting SPEX_DATA")
    data, records = Path(arguments.data), arguments.records
    started = time.perf_counter()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "baselines.joblib"
    if not kept.exists():
        joblib.dump(
            {source: fit(records, data, source, arguments.jobs) for source in QUERIES}, kept
        )
        print(f"baselines fitted in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    chips = [record for source in QUERIES for record in records_of(records, source, "val")][
        :: arguments.every
    ]
    scores = Scores()
    settings = (kept, arguments.model, not arguments.baselines_only)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, context, prepare, settings) as pool:
        waiting = [pool.submit(measure_chip, record, data) for record in chips]
        for number, one in enumerate(as_completed(waiting), 1):
            scores += one.result()
            if number % 10 == 0:
                print(
                    f"{number}/{len(chips)} chips, {time.perf_counter() - started:.0f} s",
                    file=sys.stderr,
                )
    facts = {"chips": len(chips), "seconds": round(time.perf_counter() - started)}
    if not arguments.baselines_only:
        from spex.model.loading import SHIPPED

        weights = (Path(arguments.model) if arguments.model else SHIPPED) / "model.safetensors"
        facts |= {"model": hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}
    (arguments.out / "accuracy.json").write_text(
        json.dumps({**facts, "rows": scores.rows()}, indent=2) + "\n"
    )
    page = report(scores, joblib.load(kept), facts)
    (arguments.out / "accuracy.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
