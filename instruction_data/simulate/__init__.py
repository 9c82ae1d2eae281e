"""Scenes with exact truth: land by process, its spectra, and what sensors make of it."""
