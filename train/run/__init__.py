"""What every stage shares: the loop, checkpoints, resuming, distribution, logs, losses."""
