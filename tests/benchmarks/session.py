"""Later questions of a session beside the first one: `make bench`.

The scene has 1024 x 1024 pixels and four bands. The first question counts from opening the scene,
the model loaded. A known class again is to be 50 times as fast, a new class 5 times.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from extraction import BANDS, write_scene

from spex.engine import load
from spex.raster.scene import Scene

KNOWN = ("open water", "Wasser", "water in the northern half")
NEW = ("vegetation", "bare ground", "buildings")


def main() -> None:
    extractor = load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path, 1024)
        started = time.perf_counter()
        with extractor.open(Scene.open(path, bands=BANDS)) as session:
            session.ask("water")
            first = time.perf_counter() - started
            print(f"\nA session, 1024 x 1024 x 4\n{'':36}{'seconds':>10}{'times as fast':>16}")
            print(f"{'water: open, encode, decode':36}{first:10.3f}")
            for title, queries in (("known class", KNOWN), ("new class", NEW)):
                for query in queries:
                    started = time.perf_counter()
                    session.ask(query)
                    seconds = time.perf_counter() - started
                    print(f"{f'{title}: {query}':36}{seconds:10.3f}{first / seconds:16.1f}")


if __name__ == "__main__":
    main()
