"""The training stages of SPEX."""
