"""Layouts that any dataset with tracks can be exported in."""
