"""AAS and the choice of layers, on attention made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.metrics.attention_alignment import attention_alignment, latent_masks, layer_dominance, layer_influence

NAN = float("nan")
GRID = (13, 30, 45)


def clip(n_frames: int = 49, height: int = 480, width: int = 720) -> np.ndarray:
    return np.zeros((n_frames, height, width), bool)


# --- Masks on the latent grid ----------------------------------------------------------------


def test_the_first_frame_stands_alone_and_four_frames_make_one() -> None:
    masks = clip()
    masks[0, :16, :16] = True
    masks[5:9, 16:32, 704:] = True  # the second group of four
    found = latent_masks(masks, GRID)
    assert found.shape == GRID
    assert np.argwhere(found).tolist() == [[0, 0, 0], [2, 1, 44]]


def test_a_cell_needs_half_of_its_pixels_over_its_frames() -> None:
    masks = clip()
    masks[1:3, :16, :16] = True  # two of four frames: half
    masks[1:3, :16, 16:31] = True  # a column less
    masks[0, 16:24, :16] = True  # half of a cell of the first frame
    masks[0, 16:24, 16:31] = True
    assert np.argwhere(latent_masks(masks, GRID)).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_any_takes_a_single_pixel_and_half_loses_it() -> None:
    masks = clip()
    masks[48, 479, 719] = True
    assert np.argwhere(latent_masks(masks, GRID, "any")).tolist() == [[12, 29, 44]]
    assert not latent_masks(masks, GRID).any()


def test_instances_and_a_picture_keep_their_axes() -> None:
    assert latent_masks(np.ones((2, 3, 9, 8, 4), bool), (3, 4, 2)).shape == (2, 3, 3, 4, 2)
    assert latent_masks(np.ones((1, 8, 4), bool), (1, 4, 2)).all()


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((48, 32, 32), (13, 2, 2)),
        ((49, 33, 32), (13, 2, 2)),
        ((49, 32, 30), (13, 2, 4)),
        ((3, 4, 4), (1, 2, 2)),
        ((1, 4, 4), (3, 2, 2)),
    ],
)
def test_what_does_not_divide_is_refused(shape: tuple[int, int, int], grid: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="do not divide into a grid"):
        latent_masks(np.zeros(shape, bool), grid)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="choose half or any"):
        latent_masks(clip(1, 2, 2), (1, 1, 1), "most")  # type: ignore[arg-type]


# --- AAS -------------------------------------------------------------------------------------


def test_aas_is_the_mass_inside_the_mask() -> None:
    attention = np.zeros((2, 2, 2))
    attention[0, 0] = [0.5, 0.25]
    attention[1, 1] = [2.0, 4.0]
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 1] = mask[1, 1, 0] = mask[1, 0, 0] = True
    assert attention_alignment(attention, mask) == 2.25


def test_masses_keep_their_magnitude() -> None:
    """MATRIX B.2: AAS is not normalised, so twice the attention is twice the score."""
    drawn = np.random.default_rng(0)
    attention, mask = drawn.random((3, 4, 5)), drawn.random((3, 4, 5)) > 0.5
    assert np.isclose(attention_alignment(2 * attention, mask), 2 * attention_alignment(attention, mask))
    assert np.isclose(attention_alignment(attention, mask) + attention_alignment(attention, ~mask), attention.sum())


def test_layers_share_the_mask_of_their_role() -> None:
    attention = np.ones((42, 3, 2, 2, 2)) * np.arange(42)[:, None, None, None, None]
    masks = np.zeros((3, 2, 2, 2), bool)
    masks[1, 0, 0, 0] = masks[2] = True
    found = attention_alignment(attention, masks)
    assert found.shape == (42, 3)
    assert np.isnan(found[:, 0]).all(), "an empty mask is no score of 0"
    assert found[7, 1:].tolist() == [7, 56]


def test_scores_before_the_softmax_are_refused() -> None:
    with pytest.raises(ValueError, match="after the softmax"):
        attention_alignment(np.full((1, 2, 2), -0.1), np.ones((1, 2, 2), bool))
    with pytest.raises(ValueError, match="after the softmax"):
        attention_alignment(np.full((1, 2, 2), NAN), np.ones((1, 2, 2), bool))
    with pytest.raises(ValueError, match="see latent_masks"):
        attention_alignment(np.ones((1, 2, 2)), np.ones((4, 2, 2), bool))


# --- Layers ----------------------------------------------------------------------------------


def test_influence_sums_two_ranks() -> None:
    aas = [[9.0, 5, 4, 0], [9.0, 4, 5, 0], [0.0, 5, 6, 1], [NAN] * 4]
    found = layer_influence(aas, top=2)
    assert found.frequency.tolist() == [2, 2, 2, 0]
    assert found.magnitude.tolist() == [6, 14 / 3, 5, 1 / 3]
    assert found.rank_sum.tolist() == [2 + 1, 2 + 3, 2 + 2, 4 + 4]
    assert found.influential.tolist() == [0, 2]


def test_a_single_video_of_much_attention_does_not_put_a_layer_first() -> None:
    """Magnitude alone would: frequency is there against outliers."""
    aas = np.tile([3.0, 2.9, 2.8, 0.1], (20, 1))
    aas[0, 3] = 1000
    found = layer_influence(aas, top=2)
    assert found.magnitude.argmax() == 3
    assert found.influential.tolist() == [0, 3]


def test_steps_are_averaged_before_layers_are_ranked() -> None:
    aas = np.zeros((1, 3, 50))
    aas[0, 0, 0] = 60  # 1.2 on average
    aas[0, 1] = 1
    assert layer_influence(aas, top=1).influential.tolist() == [0]


def test_equal_layers_are_taken_in_their_order() -> None:
    found = layer_influence(np.ones((3, 12)))
    assert found.influential.tolist() == list(range(10))
    assert set(found.rank_sum[:10]) == {5.5 + 6.5}


def test_dominance_is_each_set_against_all() -> None:
    aas = [[4.0, 1, 7], [2.0, 1, 7], [0.0, 1, 9], [2.0, 1, 9], [NAN] * 3]
    found = layer_dominance(aas, [True, True, False, False, True])
    assert found.success_gap.tolist() == [1, 0, -1]
    assert found.failure_gap.tolist() == [-1, 0, 1]
    assert found.order.tolist() == [0, 1, 2]
    assert layer_dominance(aas, [True, True, False, False, True], layers=[2, 1]).order.tolist() == [1, 2]


def test_there_is_no_dominance_without_both_sets() -> None:
    with pytest.raises(ValueError, match="2 successes among 2 videos"):
        layer_dominance([[1.0], [2.0]], [True, True])


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="all masks are empty"):
        layer_influence([[NAN, NAN]], top=1)
    with pytest.raises(ValueError, match="video 1 has NaN for some layers"):
        layer_influence([[1.0, 2.0], [NAN, 1.0]], top=1)
    with pytest.raises(ValueError, match="no top 10 among 2 layers"):
        layer_influence([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"not \(3,\)"):
        layer_influence([1.0, 2.0, 3.0])
