"""Flight lines as a folder of tiles for pre-training; the command is ``spex train tiles``.

    OUT/lines/PRODUCT/ROW_COL.tif          float32 (C, size, size), 0 where invalid, with a mask
    OUT/lines/PRODUCT/ROW_COL.bands.json   wavelengths, widths, bad bands, level, sensor, GSD
    OUT/lines/PRODUCT/line.json            the line's part of index and report
    OUT/index.parquet, OUT/report.json     all finished lines, by name

A line is written to OUT/partial and renamed when it is complete. A line that has a folder in
OUT/lines is not done again, and an interrupted run resumes with the same result.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.transform import xy
from rasterio.warp import transform
from rasterio.windows import Window

from instruction_data.flightlines.flight_line import FlightLine, FlightLineTile
from instruction_data.flightlines.products import FlightLineProduct, find_products
from instruction_data.flightlines.reading import open_flight_line
from spex.errors import ConfigError, OutputError, SceneError

INDEX_SCHEMA = pa.schema(
    [
        ("tile", pa.string()),
        ("product", pa.string()),
        ("line", pa.string()),
        ("sensor", pa.string()),
        ("level", pa.string()),
        ("row", pa.int32()),
        ("col", pa.int32()),
        ("valid_share", pa.float64()),
        ("gsd_m", pa.float64()),
        ("west", pa.float64()),
        ("south", pa.float64()),
        ("east", pa.float64()),
        ("north", pa.float64()),
    ]
)

_MANTISSA_BITS_DROPPED = 13  # 10 are left, as in a 16-bit float
_TIFF_OPTIONS = {
    "driver": "GTiff",
    "dtype": "float32",
    "interleave": "band",
    "tiled": True,
    "compress": "deflate",
    "predictor": 3,
    "zlevel": 1,
    "discard_lsb": _MANTISSA_BITS_DROPPED,
}


def cut_flight_lines(
    inputs: Sequence[Path],
    out: Path,
    *,
    size: int = 256,
    strict: bool = False,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Cut flight lines into tiles; the report names the files that could not be used.

    Args:
        inputs: files, and folders that are searched for netCDF and ENVI files.
        out: folder for the tiles; lines that are finished there are kept.
        size: rows and columns of a tile.
        strict: refuse at the first file that cannot be used.
        say: called with a line of text per flight line.

    Returns:
        The content of ``report.json``.

    Raises:
        ConfigError: ``size`` is not a multiple of 16, or ``out`` holds tiles of another size.
        SceneError: none of the files can be used, or with ``strict`` one cannot.
        OutputError: ``out`` cannot be written.
    """
    if size < 16 or size % 16:
        raise ConfigError(
            f"tiles of {size} pixels cannot be written; the size must be a multiple of 16"
        )
    products, skipped = find_products(inputs)
    if strict and skipped:
        raise SceneError(next(iter(skipped.values())))
    for reason in skipped.values():
        say(f"skipped: {reason}")
    try:
        _check_size(out, size)
        for number, product in enumerate(products, 1):
            try:
                summary = _read_finished(out, product) or _write_line(product, out, size)
            except SceneError as error:
                if strict:
                    raise
                skipped[str(product.path)] = str(error)
                say(f"skipped: {error}")
            else:
                say(f"{number}/{len(products)} {product.name}: {_describe(summary)}")
        report = _write_report(out, skipped)
    except OSError as error:
        raise OutputError(
            f"cannot write to {out} ({error}); fix this and rerun the same command"
        ) from error
    if skipped and not report["lines"]:
        raise SceneError(
            f"none of the inputs can be used; the first: {next(iter(skipped.values()))}"
        )
    return report


def _check_size(out: Path, size: int) -> None:
    """Refuse a folder that holds tiles of another size; else prepare it."""
    path = out / "tiles.json"
    if path.exists():
        existing = json.loads(path.read_text())["size"]
        if existing != size:
            raise ConfigError(
                f"{out} holds tiles of {existing} pixels, not {size}; give another folder"
            )
    (out / "lines").mkdir(parents=True, exist_ok=True)
    _write_json(path, {"size": size})


def _read_finished(out: Path, product: FlightLineProduct) -> dict[str, Any] | None:
    """The summary of a line that an earlier run has finished."""
    path = out / "lines" / product.name / "line.json"
    return json.loads(path.read_text()) if path.exists() else None


def _describe(summary: dict[str, Any]) -> str:
    counts = [f"{count} {cause}" for cause, count in summary["rejected"].items()]
    rejected = f", rejected {', '.join(counts)}" if counts else ""
    return f"{len(summary['tiles'])} tiles{rejected}"


def _write_line(product: FlightLineProduct, out: Path, size: int) -> dict[str, Any]:
    """Write all tiles of a flight line, then give its folder the final name."""
    folder = out / "partial" / product.name
    shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted run
    folder.mkdir(parents=True)
    tiles: list[dict[str, Any]] = []
    rejected: Counter[str] = Counter()
    try:
        with open_flight_line(product) as line:
            sidecar = _sidecar(line)
            for tile in line.tiles(size):
                if tile.rejected:
                    rejected[tile.rejected] += 1
                else:
                    tiles.append(_write_tile(tile, line, sidecar, folder))
        summary = {
            "source": product.path.name,
            "rejected": dict(sorted(rejected.items())),
            "tiles": tiles,
        }
        _write_json(folder / "line.json", summary)
        folder.rename(out / "lines" / product.name)
        return summary
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # does nothing after the rename


def _sidecar(line: FlightLine) -> dict[str, Any]:
    """The band metadata that ``Scene.open`` reads beside a tile."""
    bands = [
        {"name": band.name, "wavelength_nm": band.wavelength_nm, "fwhm_nm": band.fwhm_nm}
        for band in line.bands
    ]
    return {
        "sensor": line.product.sensor,
        "level": line.product.level,
        "gsd_m": line.gsd_m,
        "bad_bands": line.bad,
        "bands": bands,
    }


def _write_tile(
    tile: FlightLineTile, line: FlightLine, sidecar: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write a tile and its sidecar; return its row of the index."""
    product = line.product
    size = len(tile.valid)
    georeference: dict[str, Any] = {}
    bounds: dict[str, float | None] = dict.fromkeys(("west", "south", "east", "north"))
    if line.georeferenced:
        affine = line.dataset.window_transform(Window(tile.col, tile.row, size, size))
        georeference = {"crs": line.dataset.crs, "transform": affine}
        corners = xy(affine, [0, 0, size, size], [0, size, 0, size], offset="ul")
        x, y = transform(line.dataset.crs, "EPSG:4326", *corners)
        bounds = {"west": min(x), "south": min(y), "east": max(x), "north": max(y)}
    path = folder / f"{tile.row:06d}_{tile.col:06d}.tif"
    _write_tiff(path, tile, georeference)
    _write_json(path.with_suffix(".bands.json"), sidecar)
    return {
        "tile": f"lines/{product.name}/{path.name}",
        "product": product.name,
        "line": product.line,
        "sensor": product.sensor,
        "level": product.level,
        "row": tile.row,
        "col": tile.col,
        "valid_share": round(1 - sum(tile.invalid_shares), 6),
        "gsd_m": line.gsd_m,
        **bounds,
    }


def _write_tiff(path: Path, tile: FlightLineTile, georeference: dict[str, Any]) -> None:
    size = len(tile.valid)
    shape = {
        "count": len(tile.values),
        "height": size,
        "width": size,
        "blockxsize": size,
        "blockysize": size,
    }
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        MemoryFile() as memory,
    ):
        # Radiance comes in the sensor's own geometry.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**_TIFF_OPTIONS, **shape, **georeference) as dataset:
            dataset.write(tile.values)
            dataset.write_mask(tile.valid)
        # GDAL does not report a disk that is full at the end of a file; write_bytes does.
        path.write_bytes(memory.getbuffer())


def _write_report(out: Path, skipped: dict[str, str]) -> dict[str, Any]:
    """Write the index and the report of all finished lines in ``out``."""
    lines: dict[str, Any] = {}
    rejected: Counter[str] = Counter()
    partial = out / "index.parquet.partial"
    with pq.ParquetWriter(partial, INDEX_SCHEMA) as writer:
        for path in sorted((out / "lines").glob("*/line.json")):
            summary = json.loads(path.read_text())
            writer.write_table(pa.Table.from_pylist(summary["tiles"], schema=INDEX_SCHEMA))
            lines[path.parent.name] = summary | {"tiles": len(summary["tiles"])}
            rejected.update(summary["rejected"])
    partial.replace(out / "index.parquet")
    report = {
        "tiles": sum(line["tiles"] for line in lines.values()),
        "rejected": dict(sorted(rejected.items())),
        "skipped": dict(sorted(skipped.items())),
        "lines": lines,
    }
    _write_json(out / "report.json", report)
    return report


def _write_json(path: Path, content: Any) -> None:
    """Write a file under another name, then rename it."""
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(path)
