"""Show what a scene is: bands, scale, georeference, no data, and which indices and classes it can give."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from spex.raster.scene import Scene


def command(
    scene: Annotated[str, typer.Argument(help="Raster file or URL.")],
    sensor: Annotated[
        str | None, typer.Option(help="Sensor of the scene, for example sentinel-2a.")
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help='Bands: "B02=490/65,B03=560/35" (name=centre/width in nm), or a JSON file.'
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what a scene is: bands, scale, georeference, no data, and which indices and classes it can give."""
    facts = describe(Scene.open(scene, sensor=sensor, bands=bands))
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _print(facts)


def describe(scene: Scene) -> dict[str, Any]:
    """What ``spex inspect --json`` prints; statistics come from the overview."""
    from spex.evidence.indices import EVIDENCE_INDICES, available_indices, index_roles
    from spex.evidence.scene_evidence import measure
    from spex.sensors import role_weights

    overview = scene.overview()
    evidence = measure(overview)
    weights = role_weights(scene.bands)
    makes = {
        band.name: [role for role, w in weights.items() if w[i] > 0]
        for i, band in enumerate(scene.bands)
    }
    rows = [
        {
            "name": band.name,
            "wavelength_nm": band.wavelength_nm,
            "fwhm_nm": band.fwhm_nm,
            "gsd_m": band.gsd_m,
            "scale": float(scale),
            "offset": float(offset),
            "roles": makes[band.name],
            "mean": round(float(plane[overview.valid].mean()), 4),
        }
        for band, scale, offset, plane in zip(
            scene.bands, scene.scale, scene.offset, overview.values, strict=True
        )
    ]
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
        "bands": rows,
        "indices": {
            "possible": available_indices(list(weights)),
            "missing": {
                n: sorted(index_roles(n) - set(weights))
                for n in EVIDENCE_INDICES
                if index_roles(n) - set(weights)
            },
        },
        "classes": {
            "possible": [
                name for name, item in evidence.classes.items() if item.status != "unavailable"
            ],
            "missing": {
                name: item.reason
                for name, item in evidence.classes.items()
                if item.status == "unavailable"
            },
        },
        "warnings": scene.warnings,
    }


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    gsd = f"{facts['gsd_m']:.4g} m" if facts["gsd_m"] else "unknown"
    summary = {
        "scene": facts["path"],
        "sensor": facts["sensor"] or "not known by name",
        "level": facts["level"],
        "size": f"{facts['width']} x {facts['height']} pixels of {gsd}",
        "CRS": facts["crs"] or "none",
        "no data": f"{facts['nodata_share']:.2%}",
    }
    for name, value in summary.items():
        console.print(Text(f"{name:>8}  ", "bold").append(str(value), "default"), soft_wrap=True)
    table = Table("band", "centre nm", "width nm", "GSD m", "scale", "offset", "mean", "role")
    shown = (
        facts["bands"]
        if len(facts["bands"]) <= 30
        else [*facts["bands"][:10], None, *facts["bands"][-10:]]
    )
    for row in shown:
        if row is None:
            table.add_row(f"... {len(facts['bands']) - 20} more", end_section=True)
            continue
        numbers = [
            row[key] for key in ("wavelength_nm", "fwhm_nm", "gsd_m", "scale", "offset", "mean")
        ]
        table.add_row(
            row["name"],
            *("?" if v is None else f"{v:.6g}" for v in numbers),
            " ".join(row["roles"]),
        )
    console.print(table)
    for what in ("indices", "classes"):
        console.print(
            Text(f"{what} possible: ", "bold").append(
                ", ".join(facts[what]["possible"]) or "none", "default"
            )
        )
        if facts[what]["missing"]:
            console.print(Text(f"{what} not possible:", "bold"))
        for name, reason in facts[what]["missing"].items():
            lacking = reason if isinstance(reason, str) else f"needs {', '.join(reason)}"
            console.print(Text(f"  {name}: {lacking}"), soft_wrap=True)
    for warning in facts["warnings"]:
        console.print(Text(f"note: {warning}", "yellow"), soft_wrap=True)
