"""Reflectance spectra of materials: measured, or modelled."""
