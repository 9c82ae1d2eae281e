"""Requests written by hand, with their readings."""
