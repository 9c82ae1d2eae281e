"""Adapters: a region or a class learned from a few labelled scenes."""
