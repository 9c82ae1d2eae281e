"""From a scene and a query to an extraction: planning, tiling, facts, writing."""
