"""Metrics of curated data, one file each."""
