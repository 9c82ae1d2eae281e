"""How many queries are understood: classes and constraints exact, or refused where they must be.

    python tests/benchmarks/queries.py [--model CHECKPOINT] [--baselines-only] [-o OUT]

The queries and what they mean are in `queries.yaml`; the language model alone stands beside the
rules, which the engine executes. Only the reading is judged, no mask.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from spex.errors import AnswerError
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.query.answer_markup import Answer
from spex.query.prompt import clean_query
from spex.query.reader import read_request
from spex.query.reading import Reading
from spex.raster.sample_scene import write_sample_scene
from spex.raster.scene import Pixels, Scene
from tests.scenes import write_synthetic_scene

if TYPE_CHECKING:
    from spex.model.predictor import ModelPredictor

Meaning = list[dict[str, Any]]  # class and constraints per span; empty for a refusal


@dataclass(frozen=True)
class Query:
    """One entry of ``queries.yaml``."""

    ask: str
    scene: str
    seen: bool
    spans: Meaning


def load_queries() -> list[Query]:
    text = Path(__file__).with_name("queries.yaml").read_text(encoding="utf-8")
    return [Query(**entry) for entry in yaml.safe_load(text)]


def load_scenes() -> dict[str, tuple[Pixels, SceneEvidence]]:
    with tempfile.TemporaryDirectory() as folder:
        swir = Path(folder) / "swir.tif"
        write_synthetic_scene(swir, height=256, width=256)
        scenes = {"sample": Scene.open(write_sample_scene(Path(folder))), "swir": Scene.open(swir)}
        overviews = {name: scene.overview() for name, scene in scenes.items()}
    return {name: (overview, measure(overview)) for name, overview in overviews.items()}


def possible(spans: Meaning, evidence: SceneEvidence) -> Meaning:
    """The spans whose class these bands can map; the engine refuses the others."""
    return [span for span in spans if evidence.classes[span["class"]].status != "unavailable"]


Reader = Callable[[str, Pixels, SceneEvidence], Answer | Reading]


def by_rules(query: str, overview: Pixels, evidence: SceneEvidence) -> Reading:
    """The reading that the engine executes."""
    return read_request(query)


def by_model(
    predictor: ModelPredictor, query: str, overview: Pixels, evidence: SceneEvidence
) -> Answer:
    """The reading of the language model alone."""
    return predictor.open(overview, evidence).propose([(query, ())])[0]


def read(
    reader: Reader, query: Query, overview: Pixels, evidence: SceneEvidence
) -> tuple[Meaning, str]:
    """What the reader took the query to mean, and its answer."""
    try:
        read_as = reader(clean_query(query.ask), overview, evidence)
    except AnswerError as error:
        return [{"class": "malformed"}], str(error)
    parts = read_as.masks if isinstance(read_as, Reading) else read_as.spans
    meant = [{"class": part.class_name, **part.constraints.to_dict()} for part in parts]
    return meant, read_as.text if isinstance(read_as, Answer) else str(read_as.refusal or "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="checkpoint; the shipped one if left out")
    parser.add_argument("--baselines-only", action="store_true", help="leave the model out")
    parser.add_argument("-o", "--out", type=Path, help="folder for queries.md and queries.json")
    arguments = parser.parse_args()
    readers: dict[str, Reader] = {"rules": by_rules}
    if not arguments.baselines_only:
        from spex.model.loading import load

        readers = {"model": partial(by_model, load(arguments.model)), **readers}
    queries, scenes = load_queries(), load_scenes()
    rows = []
    for title, reader in readers.items():
        started = time.perf_counter()
        for query in queries:
            overview, evidence = scenes[query.scene]
            meant, text = read(reader, query, overview, evidence)
            meant, wanted = possible(meant, evidence), possible(query.spans, evidence)
            rows.append(
                {
                    "reader": title,
                    "ask": query.ask,
                    "seen": query.seen,
                    "understood": meant == wanted,
                    "classes": [s["class"] for s in meant] == [s["class"] for s in wanted],
                    "wanted": wanted,
                    "meant": meant,
                    "answer": text,
                }
            )
        print(f"{title}: {(time.perf_counter() - started) / len(queries):.2f} s per query")
    page = report(rows, list(readers))
    print(page)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "queries.md").write_text(page, encoding="utf-8")
        (arguments.out / "queries.json").write_text(
            json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8"
        )


def report(rows: list[Mapping[str, Any]], readers: list[str]) -> str:
    """The Markdown page: counts, then every query that somebody did not understand."""
    lines = [
        "# Queries understood",
        "",
        "| reader | all | seen wording | unseen wording | refusals | classes right |",
    ]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for title in readers:
        own = [row for row in rows if row["reader"] == title]
        seen, unseen = ([r for r in own if r["seen"] is known] for known in (True, False))
        groups = [own, seen, unseen, [r for r in own if not r["wanted"]]]
        cells = [f"{sum(r['understood'] for r in group)} of {len(group)}" for group in groups]
        lines.append(
            "| "
            + " | ".join([title, *cells, f"{sum(r['classes'] for r in own)} of {len(own)}"])
            + " |"
        )
    for title in readers:
        lines += ["", f"## Not understood by the {title}", ""]
        for row in rows:
            if row["reader"] == title and not row["understood"]:
                lines.append(
                    f"- {row['ask']!r}: meant {_said(row['wanted'])}, read as {_said(row['meant'])}"
                )
    return "\n".join(lines) + "\n"


def _said(spans: Meaning) -> str:
    texts = [
        " ".join(str(v) if k == "class" else f"{k}={v}" for k, v in span.items()) for span in spans
    ]
    return "; ".join(texts) or "a refusal"


if __name__ == "__main__":
    main()
