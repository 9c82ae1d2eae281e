"""Adapters: a region or a class learned from a few labelled scenes.

``workflow`` runs the whole command ``spex train adapt``: ``region_records`` reads the data and
holds tiles out, ``comparison`` measures before and after, ``region_crops`` draws what ``training``
learns from, and ``adapter_report`` writes the result.
"""
