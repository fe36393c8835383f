"""What is shown of a sample of dsr: its score and what it is made of, its two curves, a film with both boxes.

    sample_views(Snapshot.open("data"), ["clip-81b2..."], Path("pictures"))
    ->  [SampleView(text=[("a fox", "#ff6b4a"), ...], row=SampleRow(dsr_score=0.98, ...), reaches_tau=True, ...)]

Pictures lie below the folder: clips/clip-81b2....mp4 with a box where a thing is found, and its first frame.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from schemas.dsr import ANIMAL, OBJECT, ROLES, SampleRow, TrackRow
from schemas.relation import DSR_TYPES
from schemas.scores import Validity, Variant
from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath
from tasks.datasets.dsr.pairs import PairConfig
from tasks.engine.snapshots import Snapshot
from tasks.metrics.correctness import reaches
from tasks.metrics.dsr_score import END_FRAMES, GAP_WEIGHTS
from tasks.pages.colours import colour_of, css
from tasks.pages.film import film_of, paint_boxes
from tasks.pages.marks import ARTICLES, Marked, find_phrase, mark_spans
from tasks.pages.views import ClipView, make_views

TAU = 0.7  # Correctness@0.7 is what the paper reports (SpatialAlign 4.1)


@dataclass(frozen=True)
class Settings:
    """What the snapshot's videos, scores, answers and pairs were made with."""

    variant: Variant
    validity: Validity
    end_frames: int  # found frames at either end that a score's means are over
    pairing: PairConfig
    generator: str
    judge: str
    judged_by_boxes: bool  # the answers come from the very scores that they are compared with

    @classmethod
    def of(cls, manifest: SnapshotManifest) -> Settings:
        configs: dict[str, dict[str, Any]] = json.loads(manifest.configs)
        scoring = configs.get("score_dsr", {})
        makers = {maker.stage: maker for maker in manifest.made_by}
        generator, judge = makers.get("generate_samples"), makers.get("ask_relations")
        return cls(
            variant=scoring.get("score", "official"),
            validity=scoring.get("validity", "rivals"),
            end_frames=scoring.get("end_frames", END_FRAMES),
            pairing=PairConfig.model_validate(configs.get("pair_samples", {})),
            generator=generator.model if generator else "not told",
            judge=judge.model if judge else "not told",
            judged_by_boxes=judge is not None and judge.backend == "boxes",
        )

    @property
    def tau(self) -> float:
        """The score that winners reach; that of Correctness@0.7 where pairs are not made by the score."""
        by_score = self.pairing.reward == "dsr_score" and self.pairing.rule == "threshold"
        return self.pairing.tau if by_score else TAU

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest score there can be."""
        half = (2 + 4 * GAP_WEIGHTS[self.variant]) / 8
        return 0.5 - half, 0.5 + half


class SampleView(ClipView):
    """A valid sample."""

    row: SampleRow
    type_letter: str
    type_name: str
    reaches_tau: bool
    gap_weight: float  # of the gaps in the score's sum
    first_found: list[int]  # frames that the initial mean is over
    last_found: list[int]  # frames that the final mean is over


def sample_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[SampleView]:
    """Valid samples in the given order; writes their pictures below `folder`."""
    settings = Settings.of(snapshot.manifest)
    samples = snapshot.rows_by_clip(SampleRow, clip_ids)
    tracks = snapshot.rows_by_clip(TrackRow, clip_ids)

    def draw(clip_id: str) -> SampleView:
        (sample,) = samples[clip_id]
        fps, paint = Fraction(sample.fps), partial(paint_boxes, tracks[clip_id], ROLES)
        film, trouble = film_of(snapshot, clip_id, sample.n_frames, fps, paint, folder)
        return sample_view(sample, settings).model_copy(update={"film": film, "trouble": trouble})

    return make_views(draw, clip_ids)


def sample_view(sample: SampleRow, settings: Settings) -> SampleView:
    """Without its film."""
    found = [frame for frame, score in enumerate(sample.ssr_initial) if score is not None]
    return SampleView(
        clip_id=sample.clip_id,
        text=mark_roles(sample),
        fps=sample.fps,
        film=None,
        trouble=None,
        row=sample,
        type_letter=type_letter(sample.type),
        type_name=type_name(sample.type),
        reaches_tau=bool(reaches(sample.dsr_score, settings.tau)),
        gap_weight=GAP_WEIGHTS[sample.score],
        first_found=found[: settings.end_frames],
        last_found=found[-settings.end_frames :],
    )


def mark_roles(sample: SampleRow) -> Marked:
    """The prompt in pieces, each with the CSS colour of what it names: the animal's, the object's, or None."""
    nouns = {ANIMAL: sample.animal, OBJECT: sample.object}
    return mark_spans(
        sample.text,
        [
            (*span, css(colour_of(instance_id)))
            for instance_id, noun in nouns.items()
            for span in find_phrase(sample.text, noun, rf"(?:{ARTICLES})?")
        ],
    )


def type_letter(code: str) -> str:
    """The paper's: 'LT' is A. Nothing for a type that is not the paper's."""
    return DSR_TYPES[code][0] if code in DSR_TYPES else ""


def type_name(code: str) -> str:
    """'LT' is left to top. No code stands for all types."""
    if code not in DSR_TYPES:
        return code or "all types"
    _, initial, final = DSR_TYPES[code]
    return f"{initial} to {final}"
