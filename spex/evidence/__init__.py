"""What the pixels alone say about each land-cover class: indices, thresholds, regions."""
