"""From a request in plain language to its reading: classes, constraints, answer format."""
