"""AAS and maps of attention that is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.training.recipes.test_matrix import batch, config, evenly_attending, roles
from tests.training.tiny_cogvideox import GRID, N_HEADS, N_TEXT, scheduler

pytestmark = pytest.mark.models


def measured(model: Any, *of_roles: Any, **changes: Any) -> Any:
    import torch

    from tasks.training.recipes.matrix.attention_maps import measure
    from tasks.training.recipes.matrix.config import AttentionConfig

    asked = AttentionConfig(**{"v2t_blocks": (0, 1), "v2v_blocks": (2,), "timesteps": (100, 900)} | changes)
    clips = batch(of_roles or roles())
    return measure(model.transformer, scheduler(), clips, asked, torch.Generator().manual_seed(0))


def test_even_attention_has_the_share_of_the_mask_in_every_head() -> None:
    """Worked out by hand: 1 of 80 tokens each, and 2 heads."""
    from tasks.metrics.attention_alignment import latent_masks

    found = measured(evenly_attending(config()))
    cells = np.array([latent_masks(role.mask.numpy(), GRID).sum() for role in roles()])
    assert found.aas["v2t"] == pytest.approx(N_HEADS * cells / (N_TEXT + 72), rel=1e-5)
    assert found.aas["v2v"] == pytest.approx(N_HEADS * cells / (N_TEXT + 72), rel=1e-5)
    assert found.maps["v2t"].shape == (3, *GRID)


def test_planted_attention_has_the_value_that_was_planted() -> None:
    """All of a head's attention to one word, on every token: as many as the mask has cells, a head."""
    import torch

    from tasks.metrics.attention_alignment import latent_masks
    from tasks.training.recipes.matrix import attention_maps

    class Planted:
        """Queries on text token 1; keys all zero but that one's."""

        config = type("Config", (), {"patch_size": 2, "use_rotary_positional_embeddings": False})

        def __call__(self, attention_kwargs: Any, **_: Any) -> None:
            query, key = torch.zeros(1, N_HEADS, 80, 4), torch.zeros(1, N_HEADS, 80, 4)
            query[..., 0] = 1e3
            key[:, :, 1, 0] = 1.0
            attention_kwargs["taps"].read(0, query, key, N_TEXT)

    subject, _, _ = roles()
    here = batch((replace(subject, words=(1,)), replace(subject, words=(2,)), replace(subject, words=(1, 2))))
    asked = attention_maps.AttentionConfig(v2t_blocks=(0,), v2v_blocks=(), timesteps=(500,))
    found = attention_maps.measure(Planted(), scheduler(), here, asked, torch.Generator().manual_seed(0))
    cells = latent_masks(subject.mask.numpy(), GRID).sum()
    assert found.aas["v2t"] == pytest.approx([2 * cells, 0, cells], abs=1e-6)
    assert list(found.aas) == ["v2t"]


def test_a_role_that_is_not_there_has_no_value() -> None:
    from tasks.training.recipes.matrix.recipe import measured_values

    subject, _, object_ = roles()
    late = object_.mask.clone()
    late[0] = False
    given = subject, replace(object_, mask=late), replace(subject, words=()), replace(subject, mask=late & False)
    model = evenly_attending(config())
    found = measured(model, *given)
    assert np.isnan(found.aas["v2t"]).tolist() == [False, False, True, True]
    assert np.isnan(found.aas["v2v"]).tolist() == [False, True, False, True]
    names = measured_values(found, ["a", "b", "c", "d"])
    assert list(names) == ["AAS v2t", "AAS v2t: a", "AAS v2t: b", "AAS v2v", "AAS v2v: a", "AAS v2v: c"]
    assert names["AAS v2t"] == pytest.approx((names["AAS v2t: a"] + names["AAS v2t: b"]) / 2)


def test_a_verbs_propagation_starts_from_subject_and_object() -> None:
    """4.3: Q_verb is the union of both."""
    from tasks.training.recipes.matrix.attention_maps import token_sets

    subject, verb, object_ = (set(one) for one in token_sets(roles(), "v2v", GRID, "any"))
    assert subject
    assert object_
    assert verb == subject | object_


def test_heat_is_where_and_when_the_map_is() -> None:
    from tasks.training.recipes.matrix.attention_maps import overlay

    maps = np.zeros((2, *GRID))
    maps[0, 1, 3, 5] = 1.0
    frames = np.zeros((9, 64, 96, 3), np.uint8)
    shown = overlay(frames, maps, ["", ""])
    assert shown.shape == (9, 64, 192, 3)
    lit = shown[:, 56, 88].sum(-1) > 0
    assert lit.tolist() == [False, *[True] * 4, *[False] * 4]
    assert not shown[:, :32].any()
    assert not shown[:, :, 96:].any()
