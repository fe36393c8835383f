"""Simulated clips with exact velocity masks (KineMask)."""
