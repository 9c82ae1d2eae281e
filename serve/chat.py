"""One person's scene, questions and results, without any page.

All files lie in a folder of their own, which is removed with the chat.
"""

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

MethodName = Literal["model", "rules"]
METHODS: dict[MethodName, str] = {"model": "model", "rules": "index rules"}
"""Titles of the methods on the page."""

RASTER_SUFFIXES = (".tif", ".tiff", ".dat", ".img", ".bsq", ".bil", ".bip", ".raw")
COMPANION_SUFFIXES = (".hdr", ".json")  # an ENVI header, a sidecar <scene>.bands.json
_MAX_EXCHANGES = 8  # that a question may refer to


class _Stopped(Exception):
    """Nobody waits for the answer any more."""


class Chat:
    """What one person has open.

    Args:
        load: loads the extractor of a method; called once per scene and method.
        root: parent of the chat's folder; None for the system's folder of temporary files.
    """

    def __init__(self, load: Callable[[MethodName], Extractor], root: Path | None = None) -> None:
        self._load = load
        self._folder = tempfile.TemporaryDirectory(prefix="spex-chat-", dir=root)
        self._path: Path | None = None
        self._sessions: dict[MethodName, Session] = {}
        self._stop = threading.Event()
        self._saved = 0
        self._history: list[Exchange] = []
        self.scene: Scene | None = None
        self.overview: Pixels | None = None

    @property
    def folder(self) -> Path:
        """Folder of this person's files."""
        return Path(self._folder.name)

    @property
    def has_result(self) -> bool:
        """Whether a question of this conversation was answered with masks."""
        return bool(self._history)

    def upload(self, files: Sequence[str | Path]) -> None:
        """Take over uploaded files.

        Args:
            files: one raster, and the header or sidecar that belongs to it; they are moved.

        Raises:
            SceneError: not exactly one raster, or one that is neither a GeoTIFF nor ENVI.
        """
        paths = [Path(file) for file in files]
        rasters = [path.name for path in paths if path.suffix.lower() in RASTER_SUFFIXES]
        if len(rasters) != 1:
            names = ", ".join(path.name for path in paths)
            raise SceneError(
                f"{names}: give one GeoTIFF, or one ENVI raster with its .hdr; "
                "a .bands.json may be added"
            )
        folder = self._new_scene_folder()
        for path in paths:
            shutil.move(path, folder / path.name)
        raster = folder / rasters[0]
        # Only formats that hold their own pixels: a VRT could show any other file of the server.
        driver = "GTiff" if raster.suffix.lower() in (".tif", ".tiff") else "ENVI"
        try:
            with bounded_gdal_cache(), rasterio.open(raster, driver=driver):
                pass
        except RasterioError as error:
            raise SceneError(
                f"{raster.name} cannot be read as a GeoTIFF or as an ENVI raster with its .hdr"
            ) from error
        self._path = raster

    def take_sample(self) -> None:
        """Take the Sentinel-2 sample as if it had been uploaded."""
        self._path = write_sample_scene(self._new_scene_folder())

    def open(self, sensor: str = "", bands: str = "") -> Scene:
        """Open the last upload with what the person says about its bands.

        Args:
            sensor: name of a sensor; empty if the file says enough.
            bands: inline (``"B02=490/65,B03=560/35"``) or the JSON of a sidecar; may be empty too.

        Raises:
            SceneError: nothing was uploaded, or it cannot be read.
            BandError: the bands are unknown, contradictory or impossible.
        """
        if self._path is None:
            raise SceneError("there is no scene yet; upload one or take the sample")
        self._close_scene()
        try:
            scene = Scene.open(
                self._path, sensor=sensor.strip() or None, bands=_bands_argument(bands.strip())
            )
            with bounded_gdal_cache():
                overview = scene.overview(1024)
        except SceneError as error:
            raise type(error)(_without_folder(error, self._path.parent)) from error
        scene.path = self._path.name  # the results name the file, not a folder of the server
        self.scene = scene
        self.overview = overview
        return scene

    def ask(self, query: str, method: MethodName) -> Iterator[str | Extraction]:
        """Answer a query, which may follow up the last answers on this scene.

        Yields:
            Names of the steps as they begin, then the extraction unless ``stop`` was called.

        Raises:
            QueryError: no scene is open, or the query cannot be accepted.
            ModelError: the method's model cannot be loaded.
        """
        if self.scene is None:
            raise QueryError("open a scene first: upload one or take the sample")
        clean_query(query)
        scene = self.scene
        steps = SimpleQueue[str | None]()
        stop = threading.Event()
        self._stop = stop

        def progress(done: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped
            steps.put(f"tiles {done}/{total}" if done < total else "measuring the masks")

        def answer() -> Extraction:
            try:
                session = self._session(scene, method, steps.put)
                steps.put("reading the query")
                return session.ask(query, history=tuple(self._history), progress=progress)
            finally:
                steps.put(None)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(answer)
            try:
                while (step := steps.get()) is not None:
                    yield step
            finally:
                stop.set()  # also when the iterator is closed early
            with suppress(_Stopped):
                extraction = future.result()
                if extraction.work is not None:
                    self._history = [*self._history, extraction.exchange][-_MAX_EXCHANGES:]
                yield extraction

    def forget_exchanges(self) -> None:
        """Forget the questions and answers; the scene stays open."""
        self._history = []

    def stop(self) -> None:
        """End the work on the current query after the current tile."""
        self._stop.set()

    def save(self, extraction: Extraction) -> Path:
        """Write the result folder of an extraction and return the path of a zip of it.

        Raises:
            OutputError: the results cannot be written.
        """
        self._saved += 1
        name = f"spex-{Path(extraction.scene.path).stem}-{self._saved}"
        try:
            folder = extraction.save(self.folder / "results" / name)
        except OutputError as error:
            raise OutputError(_without_folder(error, self.folder)) from error
        archive = shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
        shutil.rmtree(folder)
        return Path(archive)

    def close(self) -> None:
        """End the work and remove every file."""
        self.stop()
        self._close_scene()
        self._folder.cleanup()

    def _session(self, scene: Scene, method: MethodName, report: Callable[[str], None]) -> Session:
        """The open session of a method; ``report`` is told the steps of opening one."""
        if method not in self._sessions:
            report(f"loading the {method}")
            extractor = self._load(method)
            report("reading the scene")
            self._sessions[method] = extractor.open(scene)
        return self._sessions[method]

    def _new_scene_folder(self) -> Path:
        """An empty folder for the next scene; the last one is closed and removed."""
        self._close_scene()
        self._path = None
        folder = self.folder / "scene"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _close_scene(self) -> None:
        self.scene = None
        self.overview = None
        self.forget_exchanges()
        while self._sessions:
            self._sessions.popitem()[1].close()


def _without_folder(error: Exception, folder: Path) -> str:
    """The error's message without a folder of the server, which tells a person nothing."""
    return str(error).replace(f"{folder}/", "")


def mask_overview(extraction: Extraction) -> NDArray[np.uint8]:
    """The mask raster at the size of the overview, ``(h, w)``: 0 background, 1..n, 255 nodata."""
    shape = extraction.overview.valid.shape
    if extraction.mask_path is None:
        return np.zeros(shape, np.uint8)
    with bounded_gdal_cache(), rasterio.open(extraction.mask_path) as source:
        values: NDArray[np.uint8] = source.read(1, out_shape=shape, resampling=Resampling.nearest)
    return values


def _bands_argument(text: str) -> str | dict[str, Any] | None:
    """What a person wrote about the bands, as ``Scene.open`` takes it.

    Raises:
        BandError: neither JSON nor inline text. A path is refused: it would be a server's file.
    """
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
