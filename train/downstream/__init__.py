"""Downstream tasks: what a pre-trained encoder is worth, against one from scratch and a U-Net.

``downstream_settings`` reads the YAML file, ``tasks`` makes the examples of a task from records,
``experiment`` runs every arm, ``fitting`` trains the networks of ``heads`` and ``unet``,
``class_scores`` scores them, and ``curves`` draws the results.
"""
