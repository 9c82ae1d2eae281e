"""Ask a multispectral or hyperspectral image for land cover in plain language.

The names below are loaded on first use, so that ``import spex`` is instant and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spex.engine import Extraction, Extractor, Session, extract, load
    from spex.errors import SpexError
    from spex.evidence.scene_evidence import measure
    from spex.evidence.text import evidence_text
    from spex.model.config import SpexConfig
    from spex.model.spex import SpexModel
    from spex.raster.scene import Pixels, Scene
    from spex.sensors import Band, Sensor, get_sensor

__version__ = "0.1.0"
__all__ = [
    "Band",
    "Extraction",
    "Extractor",
    "Pixels",
    "Scene",
    "Sensor",
    "Session",
    "SpexConfig",
    "SpexError",
    "SpexModel",
    "__version__",
    "evidence_text",
    "extract",
    "get_sensor",
    "load",
    "measure",
]

_HOME = {
    "Band": "spex.sensors",
    "Extraction": "spex.engine",
    "Extractor": "spex.engine",
    "Pixels": "spex.raster.scene",
    "Scene": "spex.raster.scene",
    "Sensor": "spex.sensors",
    "Session": "spex.engine",
    "SpexConfig": "spex.model.config",
    "SpexError": "spex.errors",
    "SpexModel": "spex.model.spex",
    "evidence_text": "spex.evidence.text",
    "extract": "spex.engine",
    "get_sensor": "spex.sensors",
    "load": "spex.engine",
    "measure": "spex.evidence.scene_evidence",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'spex' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
