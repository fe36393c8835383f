"""Training: snapshots become checkpoints."""
