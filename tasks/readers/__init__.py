"""Readers of input files: manifests, prompts, given videos."""
