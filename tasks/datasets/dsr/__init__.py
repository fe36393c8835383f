"""Prompts, generated videos, scores and preference pairs for spatial relations (SpatialAlign)."""
