"""Simulated land by process: relief, water, plants, fields, towns, fire."""
