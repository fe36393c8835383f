"""Boxes by colour words, foreground and the people detector.

    ColourDetector().propose(frames, [<"a boy in a red shirt">, <"a green box">])
        ->  {"id1": [Proposal(frame=0, box_xyxy=(38.0, 110.0, 82.0, 206.0), score=0.9), ...], "id2": [...]}

A thing is a patch of its colour with the parts that belong to it; a person is a figure around its garments.
Instances are searched together: none grows over pixels that almost certainly belong to another.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import cv2
import numpy as np

from schemas.grounding import Proposal
from schemas.instance import Instance
from tasks.backends.colour.boxes import as_box, disc
from tasks.backends.colour.figures import MAX_ON_PERSON, ScoredBox, figure_candidates, share_on_people
from tasks.backends.colour.foreground import BackgroundModel, ForegroundView
from tasks.backends.colour.palette import FULL_MEMBERSHIP, Tint, shrink
from tasks.backends.colour.patches import ScoredPatch, find_patches, patch_score, union_mask, whole_thing
from tasks.backends.colour.phrases import Description, Garment, describe
from tasks.backends.people import PeopleDetector, PersonBox, non_maximum_suppression
from tasks.engine.progress import counted

WORKING_LONG_SIDE_PX = 640
SAME_BOX_IOU = 0.8
MAX_PROPOSALS = 8  # per frame and instance; the stage keeps at most J of them
COLOURLESS_TRUST = 0.3  # in a patch that stands out, if no colour is given
MIN_CLAIM_SCORE = 0.35
MAX_CLAIM_SHARE = 0.1  # of the picture


class ColourDetector:
    """Proposes boxes by colour words, foreground and the people detector (`Detector`)."""

    def __init__(self) -> None:
        self.identity = {"backend": "colour", "model": "hsv-components-1", "opencv": cv2.__version__}
        self.concurrency, self.look_ahead = os.cpu_count() or 1, 0
        self._people = PeopleDetector()

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames}, best first within a frame."""
        descriptions = {instance.instance_id: describe(instance) for instance in instances}
        with_people = any(d.living for d in descriptions.values())
        working = np.stack([shrink(frame, WORKING_LONG_SIDE_PX) for frame in frames])
        scale = np.array([frames.shape[2] / working.shape[2], frames.shape[1] / working.shape[1]] * 2)
        background = BackgroundModel(working)
        proposals: dict[str, list[Proposal]] = {instance_id: [] for instance_id in descriptions}
        for index, rgb in enumerate(counted(working, "frames searched")):
            people = tuple(self._people.detect(rgb)) if with_people else ()
            for instance_id, scored in _candidates(background.view(rgb, people), descriptions).items():
                for score, box in scored:
                    proposal = Proposal(frame=index, box_xyxy=as_box(box * scale), score=score)
                    proposals[instance_id].append(proposal)
        return proposals


class _Evidence(NamedTuple):
    """An instance's colours in a frame, best patches first."""

    body: list[ScoredPatch]
    garments: dict[Garment, list[ScoredPatch]]

    @property
    def patches(self) -> list[ScoredPatch]:
        return [*self.body, *(item for scored in self.garments.values() for item in scored)]


def _candidates(view: ForegroundView, descriptions: dict[str, Description]) -> dict[str, list[ScoredBox]]:
    """{instance_id: scored boxes in px of the view, best first} in one frame."""
    evidence = {key: _evidence(view, description) for key, description in descriptions.items()}
    claims = {key: _claim(found.patches, view.shape) for key, found in evidence.items()}
    people = view.people
    candidates: dict[str, list[ScoredBox]] = {}
    # People first: a patch on a person's figure is not an animal.
    for key, description in sorted(descriptions.items(), key=lambda item: not item[1].person):
        others = [claim for other, claim in claims.items() if other != key]
        blocked = np.any(others, axis=0) & ~claims[key] if others else np.zeros(view.shape, bool)
        if description.large_garments or (description.person and not description.body):
            scored = figure_candidates(view, description, evidence[key].garments, blocked)
        else:
            scored = _thing_candidates(view, description, evidence[key].body, blocked, people)
        kept = _distinct([box for _, box in scored], [score for score, _ in scored])
        candidates[key] = [scored[i] for i in kept]
        if description.person:
            people += tuple(PersonBox(as_box(box), score) for score, box in candidates[key][:1])
    return candidates


def _distinct(boxes: list[np.ndarray], scores: list[float]) -> list[int]:
    """The places of the best boxes, none nearly equal to a better one."""
    return non_maximum_suppression(np.reshape(boxes, (-1, 4)), np.array(scores), SAME_BOX_IOU, MAX_PROPOSALS)


def _evidence(view: ForegroundView, description: Description) -> _Evidence:
    garments = {g: _scored_patches(view, g.tints, description) for g in description.large_garments}
    return _Evidence(_scored_patches(view, description.body, description), garments)


def _scored_patches(view: ForegroundView, tints: tuple[Tint, ...], description: Description) -> list[ScoredPatch]:
    """Patches of the colours, best first. Without a colour: of the foreground, except for people and garments."""
    if tints:
        membership, trust = view.picture.membership(tints), 1.0
    elif view.foregrounds and not description.garments and not description.person:
        membership, trust = view.foregrounds[-1].astype(np.uint8) * FULL_MEMBERSHIP, COLOURLESS_TRUST
    else:
        return []
    patches = find_patches(membership)
    scores = [
        trust * patch_score(patch, view.shape, view.moving, is_round=description.round, limbed=description.living)
        for patch in patches
    ]
    kept = _distinct([patch.box_xyxy for patch in patches], scores)
    return [ScoredPatch(scores[i], patches[i]) for i in kept]


def _claim(scored: list[ScoredPatch], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: pixels so likely this instance's that no other instance may grow over them."""
    max_area = MAX_CLAIM_SHARE * (shape[0] * shape[1])
    sure = [patch for score, patch in scored if score >= MIN_CLAIM_SCORE and patch.area <= max_area]
    claim = cv2.morphologyEx(union_mask(sure, shape), cv2.MORPH_CLOSE, disc(7))
    return cv2.dilate(claim, disc(5)).astype(bool)


def _thing_candidates(
    view: ForegroundView,
    description: Description,
    patches: list[ScoredPatch],
    blocked: np.ndarray,
    people: tuple[PersonBox, ...],
) -> list[ScoredBox]:
    """Boxes of things and animals, parts of other colours included. blocked: (H, W) bool, pixels of other instances."""
    scored = [ScoredBox(score, whole_thing(patch, view, blocked, description.living)) for score, patch in patches]
    if description.living and not description.person:
        scored = [item for item in scored if share_on_people(item.box, people) <= MAX_ON_PERSON]
    return scored
