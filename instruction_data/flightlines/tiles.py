"""Flight lines as a folder of tiles for pre-training, made by ``spex train tiles``.

    OUT/lines/PRODUCT/ROW_COL.tif              float32 (C, size, size), 0 where invalid; its mask says which are valid
    OUT/lines/PRODUCT/ROW_COL.bands.json       wavelengths, widths, bad bands, level, sensor, GSD, for ``Scene.open``
    OUT/lines/PRODUCT/line.json                the line's part of index and report
    OUT/index.parquet, OUT/report.json         all finished lines, by name

A line is written to OUT/partial and renamed when it is whole. One that has a folder in OUT/lines is never done again,
and a killed run goes on with the same result.
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

from instruction_data.flightlines.products import (
    Cut,
    FlightLine,
    FlightLineProduct,
    find,
    open_line,
)
from spex.errors import ConfigError, OutputError, SceneError

INDEX = pa.schema(
    [(name, pa.string()) for name in ("tile", "product", "line", "sensor", "level")]
    + [(name, pa.int32()) for name in ("row", "col")]
    + [(name, pa.float64()) for name in ("valid_share", "gsd_m", "west", "south", "east", "north")]
)

_MANTISSA_BITS_DROPPED = 13  # 10 are left, as in a 16-bit float
_OPTIONS = {"driver": "GTiff", "dtype": "float32", "interleave": "band", "tiled": True} | {
    "compress": "deflate",
    "predictor": 3,
    "zlevel": 1,
    "discard_lsb": _MANTISSA_BITS_DROPPED,
}


def prepare(
    inputs: Sequence[Path],
    out: Path,
    *,
    size: int = 256,
    strict: bool = False,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Cut flight lines into tiles; what cannot be used is named in the report.

    Args:
        inputs: files, and folders to look through for netCDF files and files with an ENVI header.
        out: folder for the tiles; lines that are finished there are kept.
        size: rows and columns of a tile.
        strict: refuse at the first input that cannot be used.
        say: told a line of text per flight line.

    Returns:
        The content of ``report.json``.

    Raises:
        ConfigError: ``size`` is no multiple of 16, or ``out`` holds tiles of another size.
        SceneError: none of the inputs can be used, or with ``strict`` one cannot.
        OutputError: ``out`` cannot be written.
    """
    if size < 16 or size % 16:
        raise ConfigError(
            f"tiles of {size} pixels; the size must be a multiple of 16, as GeoTIFF blocks are"
        )
    products, skipped = find(inputs)
    if strict and skipped:
        raise SceneError(next(iter(skipped.values())))
    for reason in skipped.values():
        say(f"skipped: {reason}")
    try:
        _same_size(out, size)
        for n, product in enumerate(products, 1):
            try:
                summary = _finished(out, product) or _line(product, out, size)
            except SceneError as error:
                if strict:
                    raise
                skipped[str(product.path)] = str(error)
                say(f"skipped: {error}")
            else:
                tiles, rejected = len(summary["tiles"]), summary["rejected"]
                causes = (
                    f", rejected {', '.join(f'{k} {cause}' for cause, k in rejected.items())}"
                    if rejected
                    else ""
                )
                say(f"{n}/{len(products)} {product.name}: {tiles} tiles{causes}")
        report = _collect(out, skipped)
    except OSError as error:
        raise OutputError(
            f"cannot write to {out} ({error}); see to it, then run the same command again"
        ) from error
    if skipped and not report["lines"]:
        raise SceneError(
            f"none of the inputs can be used; the first: {next(iter(skipped.values()))}"
        )
    return report


def _same_size(out: Path, size: int) -> None:
    place = out / "tiles.json"
    if place.exists() and (before := json.loads(place.read_text())["size"]) != size:
        raise ConfigError(f"{out} holds tiles of {before} pixels, not {size}; give another folder")
    (out / "lines").mkdir(parents=True, exist_ok=True)
    _write(place, {"size": size})


def _finished(out: Path, product: FlightLineProduct) -> dict[str, Any] | None:
    place = out / "lines" / product.name / "line.json"
    return json.loads(place.read_text()) if place.exists() else None


def _line(product: FlightLineProduct, out: Path, size: int) -> dict[str, Any]:
    """Write all tiles of a flight line, and its folder's name last."""
    folder = out / "partial" / product.name
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    tiles: list[dict[str, Any]] = []
    rejected: Counter[str] = Counter()
    try:
        with open_line(product) as line:
            sidecar = _sidecar(line)
            for cut in line.cuts(size):
                if cut.rejected:
                    rejected[cut.rejected] += 1
                else:
                    tiles.append(_tile(cut, line, sidecar, folder))
        summary = {
            "source": product.path.name,
            "rejected": dict(sorted(rejected.items())),
            "tiles": tiles,
        }
        _write(folder / "line.json", summary)
        folder.rename(out / "lines" / product.name)
        return summary
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone where it was renamed


def _sidecar(line: FlightLine) -> dict[str, Any]:
    product = line.product
    said = {
        "sensor": product.sensor,
        "level": product.level,
        "gsd_m": line.gsd_m,
        "bad_bands": line.bad,
    }
    bands = [
        {"name": b.name, "wavelength_nm": b.wavelength_nm, "fwhm_nm": b.fwhm_nm} for b in line.bands
    ]
    return said | {"bands": bands}


def _tile(cut: Cut, line: FlightLine, sidecar: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write one tile and its sidecar; returns its row of the index."""
    product, size = line.product, len(cut.valid)
    place: dict[str, Any] = {}
    bounds: dict[str, float | None] = dict.fromkeys(("west", "south", "east", "north"))
    if line.georeferenced:
        affine = line.dataset.window_transform(Window(cut.col, cut.row, size, size))
        place = {"crs": line.dataset.crs, "transform": affine}
        corners = xy(affine, [0, 0, size, size], [0, size, 0, size], offset="ul")
        x, y = transform(line.dataset.crs, "EPSG:4326", *corners)
        bounds = {"west": min(x), "south": min(y), "east": max(x), "north": max(y)}
    path = folder / f"{cut.row:06d}_{cut.col:06d}.tif"
    shape = {
        "count": len(cut.values),
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
        warnings.simplefilter(
            "ignore", NotGeoreferencedWarning
        )  # radiance in the sensor's own geometry
        with memory.open(**_OPTIONS, **shape, **place) as dst:
            dst.write(cut.values)
            dst.write_mask(cut.valid)
        path.write_bytes(
            memory.getbuffer()
        )  # GDAL says nothing when the disk is full at the end of a file
    _write(path.with_suffix(".bands.json"), sidecar)
    return {
        "tile": f"lines/{product.name}/{path.name}",
        "product": product.name,
        "line": product.line,
        "sensor": product.sensor,
        "level": product.level,
        "row": cut.row,
        "col": cut.col,
        "valid_share": round(1 - sum(cut.lost), 6),
        "gsd_m": line.gsd_m,
        **bounds,
    }


def _collect(out: Path, skipped: dict[str, str]) -> dict[str, Any]:
    """Write the index and the report of every finished line in ``out``."""
    lines: dict[str, Any] = {}
    rejected: Counter[str] = Counter()
    partial = out / "index.parquet.partial"
    with pq.ParquetWriter(partial, INDEX) as writer:
        for place in sorted((out / "lines").glob("*/line.json")):
            summary = json.loads(place.read_text())
            writer.write_table(pa.Table.from_pylist(summary["tiles"], schema=INDEX))
            lines[place.parent.name] = summary | {"tiles": len(summary["tiles"])}
            rejected.update(summary["rejected"])
    partial.replace(out / "index.parquet")
    tiles = sum(line["tiles"] for line in lines.values())
    report = {
        "tiles": tiles,
        "rejected": dict(sorted(rejected.items())),
        "skipped": dict(sorted(skipped.items())),
        "lines": lines,
    }
    _write(out / "report.json", report)
    return report


def _write(path: Path, content: Any) -> None:
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(path)
