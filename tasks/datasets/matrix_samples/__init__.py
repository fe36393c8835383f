"""Samples of matrix11k's clips, as MATRIX's training takes them."""
