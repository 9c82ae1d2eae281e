"""List the sensors that --sensor knows: names, bands, wavelengths and resolution."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from spex.cli.options import JsonOption, print_table

if TYPE_CHECKING:
    from spex.sensors import Sensor


def command(as_json: JsonOption = False) -> None:
    """List the sensors that --sensor knows: names, bands, wavelengths and resolution."""
    from spex.sensors import sensors

    if as_json:
        entries = [_describe(sensor) for sensor in sensors()]
        typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    columns = ("sensor", "other names", "bands", "nm", "GSD m")
    print_table(columns, [_row(sensor) for sensor in sensors()])


def _describe(sensor: Sensor) -> dict[str, Any]:
    bands = [
        {
            "name": band.name,
            "wavelength_nm": band.wavelength_nm,
            "fwhm_nm": band.fwhm_nm,
            "gsd_m": band.gsd_m,
        }
        for band in sensor.bands
    ]
    return {
        "name": sensor.key,
        "title": sensor.title,
        "other_names": sensor.other_names,
        "family": sensor.family,
        "level": sensor.level,
        "scale": sensor.scale,
        "offset": sensor.offset,
        "source": sensor.source,
        "bands": bands,
    }


def _row(sensor: Sensor) -> list[str]:
    return [
        sensor.key,
        ", ".join(sensor.other_names),
        str(len(sensor.bands)),
        _range([band.wavelength_nm and round(band.wavelength_nm) for band in sensor.bands]),
        _range([band.gsd_m for band in sensor.bands]),
    ]


def _range(numbers: list[float | None]) -> str:
    """The smallest and the largest of the known numbers."""
    known = [number for number in numbers if number is not None]
    if not known:
        return "?"
    if min(known) == max(known):
        return f"{min(known):g}"
    return f"{min(known):g}-{max(known):g}"
