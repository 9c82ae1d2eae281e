"""From probabilities to masks: composition, constraints, components, facts, doubts."""
