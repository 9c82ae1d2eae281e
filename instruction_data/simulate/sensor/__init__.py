"""What the atmosphere, a sensor and its product make of a landscape."""
