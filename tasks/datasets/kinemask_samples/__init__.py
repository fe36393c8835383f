"""Samples of simulated clips, as KineMask's training takes them."""
