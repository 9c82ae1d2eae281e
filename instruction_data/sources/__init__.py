"""Scenes and labels of any origin, as labelled chips."""
