"""MATRIX's settings: the paper's numbers, the authors' code and table 2's rows by name. Needs no torch."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.training.recipes.matrix.config import VARIANTS, MatrixTraining, variant


def difference(name: str) -> dict[str, Any]:
    """What a variant sets otherwise than the paper, flat."""

    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in values.items():
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return found

    paper, other = flat(MatrixTraining().model_dump()), flat(variant(name).model_dump())
    return {key: value for key, value in other.items() if value != paper[key]}


def test_the_papers_numbers_are_the_defaults() -> None:
    paper = variant("paper")
    assert paper == MatrixTraining()
    assert (paper.lora.rank, paper.lora.alpha, paper.lora.blocks) == (128, 64, (7, 11, 12))
    assert (paper.alignment.sga_blocks, paper.alignment.spa_blocks) == ((7, 11), (12,))
    assert (paper.n_frames, paper.height, paper.width) == (49, 480, 720)
    assert (paper.optimisation.n_steps, paper.optimisation.schedule) == (4000, "cosine")


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("no_layer_selection", {"lora.blocks": None, "alignment.sga_blocks": (), "alignment.spa_blocks": ()}),
        ("selection_only", {"alignment.sga_blocks": (), "alignment.spa_blocks": ()}),
        ("spa_only", {"alignment.sga_blocks": ()}),
        ("sga_only", {"alignment.spa_blocks": ()}),
    ],
)
def test_a_row_of_table_2_differs_in_what_it_is_named_for(row: str, changes: dict[str, Any]) -> None:
    assert difference(row) == changes


def test_the_authors_code_is_another_experiment() -> None:
    assert difference("official") == {
        "lora.rank": 16,
        "lora.alpha": 16,
        "lora.blocks": (6, 8, 20, 24),
        "alignment.sga_blocks": (20, 24),
        "alignment.spa_blocks": (6, 8),
        "alignment.words": "id",
        "alignment.verbs": False,
        "alignment.over_roles": "mean",
        "alignment.mask_stride_px": 8,
        "alignment.loss.dice": 0,
        "alignment.loss.l2": 0,
        "alignment.loss.max_pos_weight": 10,
        "attention.v2t_blocks": (20, 24),
        "attention.v2v_blocks": (6, 8),
        "optimisation.n_steps": 55_000,
        "optimisation.learning_rate": 1e-5,
        "optimisation.schedule": "constant",
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_written_and_read_unchanged(name: str) -> None:
    training = variant(name, seed=7)
    assert MatrixTraining.model_validate_json(training.model_dump_json()) == training
    assert training.seed == 7


def test_what_the_paper_does_not_publish_says_so() -> None:
    alignment = MatrixTraining().alignment
    for settings, names in ((alignment, ("sga_weight", "spa_weight")), (alignment.loss, ("bce", "dice", "l2"))):
        for name in names:
            assert "not in the paper" in str(type(settings).model_fields[name].description)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no variant 'sga'; there are paper"):
        variant("sga")
    for wrong in ({"lora": {"blocks": (-1,)}}, {"alignment": {"mask_stride_px": 3}}, {"blocks": (7,)}):
        with pytest.raises(ValidationError):
            MatrixTraining(**wrong)
