"""SPIE: instruction records made from scenes and their spectral evidence."""
