"""Rasters as scenes: reading, band metadata, areas and tiles."""
