"""Airborne flight lines, cut into tiles for pre-training."""
