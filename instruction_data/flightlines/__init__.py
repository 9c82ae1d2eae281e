"""Airborne flight lines as tiles for pre-training."""
