"""What a snapshot of captioned videos holds, counted: for its manifest and its page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from schemas.matrix11k import MatrixStatistics
from tasks.engine.dataset import histogram, ranked, read_columns

TOP = 50  # verbs and nouns in figure 10


def statistics(folder: Path) -> MatrixStatistics:
    """Figure 10 of MATRIX: contact x dynamism, interactions and identities a clip, top verbs and nouns."""
    clip_ids: list[str] = read_columns(folder, "clips", "clip_id")["clip_id"].to_list()
    interactions = read_columns(folder, "interactions", "clip_id", "verb", "contactness", "dynamism")
    instances = read_columns(folder, "instances", "clip_id", "class_name")
    grid = [[0] * 5 for _ in range(5)]
    for contactness, dynamism in interactions.select("contactness", "dynamism").iter_rows():
        grid[contactness - 1][dynamism - 1] += 1

    def rows_per_clip(of_clips: list[str]) -> list[int]:
        n_rows = Counter(of_clips)
        return histogram([n_rows[clip_id] for clip_id in clip_ids])

    return MatrixStatistics(
        contact_dynamism=grid,
        interactions_per_clip=rows_per_clip(interactions["clip_id"].to_list()),
        instances_per_clip=rows_per_clip(instances["clip_id"].to_list()),
        top_verbs=ranked(interactions["verb"].to_list(), TOP),
        top_nouns=ranked(instances["class_name"].to_list(), TOP),
    )
