"""Tests of the layouts that a snapshot is exported in."""
