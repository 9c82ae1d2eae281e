"""Show a scene: bands, scale, georeference, nodata, and the indices and classes it allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from spex.cli.options import (
    SAMPLE,
    BandsOption,
    JsonOption,
    SceneArgument,
    SensorOption,
    print_table,
    scene_path,
)

if TYPE_CHECKING:
    from spex.evidence.scene_evidence import SceneEvidence
    from spex.raster.scene import Pixels, Scene

_MAX_BANDS = 30  # shown in the table; of more, the first and the last ten are


def command(
    scene: SceneArgument,
    sensor: SensorOption = None,
    bands: BandsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a scene: bands, scale, georeference, nodata, and the indices and classes it allows."""
    from spex.raster.scene import Scene

    with scene_path(scene) as path:
        description = describe(Scene.open(path, sensor=sensor, bands=bands))
    if path != scene:
        description["path"] = SAMPLE  # not the temporary file
    if as_json:
        typer.echo(json.dumps(description, indent=2, ensure_ascii=False))
    else:
        _print(description)


def describe(scene: Scene) -> dict[str, Any]:
    """Describe a scene as ``spex inspect --json`` prints it; statistics are of the overview."""
    from spex.evidence.scene_evidence import measure

    overview = scene.overview()
    return {
        "path": scene.path,
        "sensor": scene.sensor and scene.sensor.key,
        "level": scene.level,
        "width": scene.width,
        "height": scene.height,
        "gsd_m": scene.gsd_m,
        "crs": scene.crs and scene.crs.to_string(),
        "transform": list(scene.transform)[:6],
        "nodata_share": round(1 - float(overview.valid.mean()), 6),
        "bands": _describe_bands(scene, overview),
        "indices": _describe_indices(scene),
        "classes": _describe_classes(measure(overview)),
        "warnings": scene.warnings,
    }


def _describe_bands(scene: Scene, overview: Pixels) -> list[dict[str, Any]]:
    from spex.sensors import role_weights

    weights = role_weights(scene.bands)
    rows = []
    for number, band in enumerate(scene.bands):
        rows.append(
            {
                "name": band.name,
                "wavelength_nm": band.wavelength_nm,
                "fwhm_nm": band.fwhm_nm,
                "gsd_m": band.gsd_m,
                "scale": float(scene.scale[number]),
                "offset": float(scene.offset[number]),
                "roles": [role for role in weights if weights[role][number] > 0],
                "mean": round(float(overview.values[number][overview.valid].mean()), 4),
            }
        )
    return rows


def _describe_indices(scene: Scene) -> dict[str, Any]:
    from spex.evidence.indices import EVIDENCE_INDICES, available_indices, index_roles
    from spex.sensors import role_weights

    roles = set(role_weights(scene.bands))
    missing = {name: sorted(index_roles(name) - roles) for name in EVIDENCE_INDICES}
    return {
        "possible": available_indices(list(role_weights(scene.bands))),
        "missing": {name: lacking for name, lacking in missing.items() if lacking},
    }


def _describe_classes(evidence: SceneEvidence) -> dict[str, Any]:
    possible = []
    missing = {}
    for name, class_evidence in evidence.classes.items():
        if class_evidence.status == "unavailable":
            missing[name] = class_evidence.reason
        else:
            possible.append(name)
    return {"possible": possible, "missing": missing}


def _print(description: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    gsd = f"{description['gsd_m']:.4g} m" if description["gsd_m"] else "unknown size"
    summary = {
        "scene": description["path"],
        "sensor": description["sensor"] or "not recognised",
        "level": description["level"],
        "size": f"{description['width']} x {description['height']} pixels of {gsd}",
        "CRS": description["crs"] or "none",
        "nodata": f"{description['nodata_share']:.2%}",
    }
    for name, value in summary.items():
        console.print(Text(f"{name:>8}  ", "bold").append(str(value), "default"), soft_wrap=True)
    print_table(
        ("band", "centre nm", "width nm", "GSD m", "scale", "offset", "mean", "role"),
        _band_rows(description["bands"]),
    )
    for kind in ("indices", "classes"):
        possible = ", ".join(description[kind]["possible"]) or "none"
        console.print(Text(f"{kind} possible: ", "bold").append(possible, "default"))
        if description[kind]["missing"]:
            console.print(Text(f"{kind} not possible:", "bold"))
        for name, reason in description[kind]["missing"].items():
            requirement = reason if isinstance(reason, str) else f"requires {', '.join(reason)}"
            console.print(Text(f"  {name}: {requirement}"), soft_wrap=True)
    for warning in description["warnings"]:
        console.print(Text(f"Note: {warning}", "yellow"), soft_wrap=True)


def _band_rows(bands: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table of bands; the middle of a long list is left out."""
    rows = []
    for band in bands:
        numbers = [
            band[key] for key in ("wavelength_nm", "fwhm_nm", "gsd_m", "scale", "offset", "mean")
        ]
        cells = ["?" if number is None else f"{number:.6g}" for number in numbers]
        rows.append([band["name"], *cells, " ".join(band["roles"])])
    if len(rows) <= _MAX_BANDS:
        return rows
    return [*rows[:10], [f"... {len(rows) - 20} more"], *rows[-10:]]
