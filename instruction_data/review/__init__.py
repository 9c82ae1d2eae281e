"""Checks, statistics and pictures of a built folder."""
