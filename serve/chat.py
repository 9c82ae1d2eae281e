"""One person's scene, questions and results, without any page. Files lie in a folder of their own that goes with it."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from spex.engine.extractor import Extractor
from spex.engine.session import Session
from spex.errors import BandError, OutputError, QueryError, SceneError
from spex.query.prompt import Exchange, clean_query
from spex.raster.sample_scene import write_sample_scene
from spex.raster.scene import Pixels, Scene
from spex.raster.working_rasters import bounded_gdal_cache
from spex.results.extraction import Extraction

Method = Literal["model", "index rules"]
RASTERS = (".tif", ".tiff", ".dat", ".img", ".bsq", ".bil", ".bip", ".raw")
_TURNS = 2  # exchanges that a question may follow up
COMPANIONS = (".hdr", ".json")  # an ENVI header, a sidecar <scene>.bands.json


class _Stopped(Exception):
    """Nobody waits for the answer any more."""


class Chat:
    """What one person has open.

    Args:
        load: gives the extractor of a method; called once per scene and method.
        root: where the folder is made; the system's place for temporary files if None.
    """

    def __init__(self, load: Callable[[Method], Extractor], root: Path | None = None) -> None:
        self._load = load
        self._folder = tempfile.TemporaryDirectory(prefix="spex-chat-", dir=root)
        self._path: Path | None = None
        self._sessions: dict[Method, Session] = {}
        self._stop = threading.Event()
        self._answers = 0
        self._history: list[Exchange] = []
        self.scene: Scene | None = None
        self.overview: Pixels | None = None

    @property
    def folder(self) -> Path:
        """Where this person's files lie."""
        return Path(self._folder.name)

    def upload(self, files: Sequence[str | Path]) -> None:
        """Take over uploaded files: one raster, and the header or sidecar that belongs to it.

        Raises:
            SceneError: not exactly one raster, or one that is neither a GeoTIFF nor an ENVI raster.
        """
        rasters = [Path(file).name for file in files if Path(file).suffix.lower() in RASTERS]
        if len(rasters) != 1:
            given = ", ".join(Path(file).name for file in files)
            raise SceneError(
                f"{given}: give one GeoTIFF, or one ENVI raster with its .hdr, and optionally .bands.json"
            )
        place = self._fresh_place()
        for file in files:
            shutil.move(file, place / Path(file).name)
        path = place / rasters[0]
        # Only formats that hold their own pixels: a VRT, whatever its name, could show any other file of the server.
        driver = "GTiff" if path.suffix.lower() in (".tif", ".tiff") else "ENVI"
        try:
            with bounded_gdal_cache(), rasterio.open(path, driver=driver):
                pass
        except RasterioError as error:
            raise SceneError(
                f"{path.name} cannot be read as a GeoTIFF or as an ENVI raster with its .hdr"
            ) from error
        self._path = path

    def take_sample(self) -> None:
        """Take the Sentinel-2 sample as if it had been uploaded."""
        self._path = write_sample_scene(self._fresh_place())

    def open(self, sensor: str = "", bands: str = "") -> Scene:
        """Open what was uploaded last, with what the person says about its bands.

        Args:
            sensor: name of a sensor; empty where the file says enough.
            bands: inline (``"B02=490/65,B03=560/35"``) or the JSON of a sidecar; empty likewise.

        Raises:
            SceneError: nothing was uploaded, or it cannot be read.
            BandError: the bands are unknown, contradictory or impossible.
        """
        if self._path is None:
            raise SceneError("there is no scene yet; upload one or take the sample")
        self._forget()
        try:
            scene = Scene.open(
                self._path, sensor=sensor.strip() or None, bands=_bands(bands.strip())
            )
            with bounded_gdal_cache():
                overview = scene.overview(1024)
        except SceneError as error:
            raise type(error)(_without(self._path.parent, error)) from error
        scene.path = self._path.name  # the results name the file, not a folder of the server
        self.scene, self.overview = scene, overview
        return scene

    def ask(self, query: str, method: Method) -> Iterator[str | Extraction]:
        """Answer a query: lines that say what is being done, then the extraction, unless ``stop`` was called.

        The query may follow up the last answers on this scene.

        Raises:
            QueryError: no scene is open, or the query cannot be accepted.
            ModelError: the method's model cannot be loaded.
        """
        if self.scene is None:
            raise QueryError("open a scene first: upload one or take the sample")
        clean_query(query)
        scene, stop, steps = self.scene, threading.Event(), SimpleQueue[str | None]()
        self._stop = stop

        def progress(done: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped
            steps.put(f"tiles {done}/{total}" if done < total else "measuring the masks")

        def work() -> Extraction:
            try:
                session = self._session(scene, method, steps.put)
                steps.put("reading the query")
                return session.ask(query, history=tuple(self._history), progress=progress)
            finally:
                steps.put(None)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            try:
                while (step := steps.get()) is not None:
                    yield step
            finally:
                stop.set()  # also when the iterator is closed early
            with suppress(_Stopped):
                extraction = future.result()
                if not extraction.refused:
                    self._history = [*self._history, extraction.exchange][-_TURNS:]
                yield extraction

    def start_anew(self) -> None:
        """Forget what was asked and answered; the scene stays open."""
        self._history = []

    def stop(self) -> None:
        """End the work on the current query, after the tile in hand."""
        self._stop.set()

    def save(self, extraction: Extraction) -> Path:
        """Write the result folder of an extraction and pack it; returns the path of the zip.

        Raises:
            OutputError: the results cannot be written.
        """
        self._answers += 1
        name = f"spex-{Path(extraction.scene.path).stem}-{self._answers}"
        try:
            folder = extraction.save(self.folder / "results" / name)
        except OutputError as error:
            raise OutputError(_without(self.folder, error)) from error
        archive = shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
        shutil.rmtree(folder)
        return Path(archive)

    def close(self) -> None:
        """End what runs and remove every file."""
        self.stop()
        self._forget()
        self._folder.cleanup()

    def _session(self, scene: Scene, method: Method, say: Callable[[str], None]) -> Session:
        if method not in self._sessions:
            say("loading the model" if method == "model" else "loading the rules")
            extractor = self._load(method)
            say("measuring evidence")
            self._sessions[method] = extractor.open(scene)
        return self._sessions[method]

    def _fresh_place(self) -> Path:
        self._forget()
        self._path = None
        shutil.rmtree(self.folder / "scene", ignore_errors=True)
        place = self.folder / "scene"
        place.mkdir()
        return place

    def _forget(self) -> None:
        self.scene = self.overview = None
        self.start_anew()
        while self._sessions:
            self._sessions.popitem()[1].close()


def _without(folder: Path, error: Exception) -> str:
    """The error's line without a folder of the server, which says nothing to a person."""
    return str(error).replace(f"{folder}/", "")


def mask_overview(extraction: Extraction) -> NDArray[np.uint8]:
    """The mask raster at the size of the overview, ``(h, w)``: 0 background, 1..n, 255 no data."""
    shape = extraction.overview.valid.shape
    if extraction.mask_path is None:
        return np.zeros(shape, np.uint8)
    with bounded_gdal_cache(), rasterio.open(extraction.mask_path) as source:
        values: NDArray[np.uint8] = source.read(1, out_shape=shape, resampling=Resampling.nearest)
    return values


def _bands(text: str) -> str | dict[str, Any] | None:
    """What the person wrote about the bands; never the path of a file of the server, which the library would read."""
    if not text:
        return None
    if text.startswith("{"):
        try:
            content: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise BandError(f"bands: not JSON ({error})") from error
        return content
    if "=" not in text or Path(text).exists():
        raise BandError(
            f'bands: {text[:60]!r} is not like "B02=490/65,B03=560/35" (name=centre/width in nm)'
        )
    return text
