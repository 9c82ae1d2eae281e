"""The repository's own folders of real data, each with a ``meta.json``, beside ``split.json``."""

from __future__ import annotations

from instruction_data.layouts.repository_airborne import CHESAPEAKE, JASPER, MOFFETT, OHIO, SAMSON
from instruction_data.layouts.repository_patches import LANDSLIDE, TOKYO
from instruction_data.layouts.repository_satellite import BURN, CROPS, FLOOD

LAYOUTS = (FLOOD, OHIO, CHESAPEAKE, BURN, CROPS, JASPER, SAMSON, MOFFETT, TOKYO, LANDSLIDE)
