"""generated videos: a run's weights and a file of inputs -> videos, and a folder that evaluations read."""
