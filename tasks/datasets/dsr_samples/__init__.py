"""Samples of generated videos, as SpatialAlign's training takes them."""
