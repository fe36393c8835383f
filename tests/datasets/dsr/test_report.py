"""The report of prompts and pairs: curves are in proportion, films show the boxes, every number is on the page."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from schemas.candidate import Box
from schemas.dsr import (
    ANIMAL,
    OBJECT,
    SHARD_TABLES,
    WHOLE_TABLES,
    DsrLabels,
    DsrPrompt,
    DsrSample,
    DsrStatistics,
    SampleOutcomeRow,
    SampleRow,
    TrackRow,
    VideoRow,
)
from schemas.mask_track import MaskTrack, encode_mask
from schemas.matrix11k import MatrixStatistics
from schemas.outcome import Status
from schemas.provenance import MadeBy
from schemas.record import write_table
from schemas.relation import DSR_TYPES, in_table_order
from schemas.scene import Split
from schemas.snapshot import Count, FunnelStep, ShardEntry, SnapshotManifest
from schemas.storage import parse_path
from schemas.tables import CandidateRow
from schemas.usage import Usage
from tasks.datasets.dsr import report
from tasks.datasets.dsr.dataset import DSR
from tasks.datasets.dsr.pairs import PairConfig, pair_samples, prompt_rows
from tasks.datasets.dsr.report.charts import LARGE, agreement_chart, curve_chart, runs, score_chart, ssr_chart
from tasks.datasets.dsr.report.examples import choose_examples
from tasks.datasets.dsr.report.tables import NO_DIFFERENCE, NO_LOSER, NO_WINNER, TOO_FEW, curves_of, why_unpaired
from tasks.datasets.dsr.view import SampleView, Settings, sample_view, sample_views, type_letter, type_name
from tasks.engine.dataset import Ways, funnel_step
from tasks.engine.inputs import Inputs
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work
from tasks.media.encoding import encode_video
from tasks.media.video import iter_frames
from tasks.metrics.correctness import AgreementBin, vlm_agreement
from tasks.metrics.dsr_score import directions_of, score_clips
from tasks.pages.colours import Colour, colour_of
from tasks.pages.funnel import MAX_ROWS_PER_GROUP
from tasks.pages.page import PageContext
from tasks.pages.usage import StageUsage, usage_of
from tasks.pages.wording import signed
from tasks.score_dsr import ScoreConfig
from tests.support.pages import Page, tables_of
from tests.support.stages import DSR_STAGES

N_FRAMES, WIDTH, HEIGHT = 8, 120, 80
END_FRAMES = 2
GREY = 128
STUMP: Box = (50.0, 40.0, 70.0, 60.0)  # where the object is in every frame
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
MADE_BY = [
    MadeBy(stage="generate_samples", backend="drawn", model="drawn 1", details="{}"),
    MadeBy(stage="ask_relations", backend="boxes", model="boxes 1", details="{}"),
]

# --- A small snapshot ------------------------------------------------------------------------


def make_prompt(code: str = "RL", split: Split = "train", number: int = 0, text: str | None = None) -> DsrPrompt:
    _, initial, final = DSR_TYPES[code]
    labels = DsrLabels(
        scene=f"In quiet wood {number}", animal="fox", object="stump", verb="walks", initial=initial, final=final
    )
    said = f"a fox is on the {initial} of a stump, then the fox walks to the {final} of the stump."
    prompt_id = DsrPrompt.id_of(labels)
    return DsrPrompt(**labels.model_dump(), prompt_id=prompt_id, split=split, form="structured", text=text or said)


def place(relation: str, nearness: float = 1.0) -> Box:
    """A box of 20 x 20 px beside one of the same size in the middle; nearness 1: a box's width away."""
    dx, dy = {"left": (-20, 0), "right": (20, 0), "top": (0, -20)}[relation]
    left, top = 50 + dx * nearness, 40 + dy * nearness
    return left, top, left + 20, top + 20


def way(prompt: DsrPrompt, share: float) -> list[Box]:
    """The animal's boxes where it goes a share of the way from its initial to its final place."""
    start, end = np.array(place(prompt.initial)), np.array(place(prompt.final))
    steps = np.linspace(0, share, N_FRAMES)[:, None]
    return [tuple(box) for box in (start + steps * (end - start)).tolist()]


def make_sample(
    prompt: DsrPrompt, seed: int, share: float = 1.0, hidden: Sequence[int] = (), **changes: Any
) -> SampleRow:
    """A sample whose scores are those of its boxes; hidden: frames in which the animal is not found."""
    animal, object_ = np.array([way(prompt, share)]), np.array([[STUMP] * N_FRAMES])
    found = np.array([[frame not in hidden for frame in range(N_FRAMES)]])
    directions = directions_of([prompt.initial]), directions_of([prompt.final])
    variant = changes.get("score", "official")
    scores = score_clips(animal, object_, found, *directions, variant, END_FRAMES)
    numbers = {name: float(getattr(scores.dsr, name)[0]) for name in ("r_initial", "r_final", "g_initial", "g_final")}
    values: dict[str, Any] = {
        "type": prompt.dsr_type,
        "fps": 16.0,
        "n_frames": N_FRAMES,
        "width": WIDTH,
        "height": HEIGHT,
        "sha256": "ab" * 32,
        "score": variant,
        "dsr_score": float(scores.dsr.score[0]),
        "n_found": int(found.sum()),
        "ssr_initial": [None if np.isnan(v) else float(v) for v in scores.ssr_initial[0]],
        "ssr_final": [None if np.isnan(v) else float(v) for v in scores.ssr_final[0]],
        "initial_yes": numbers["r_initial"] >= 0.5,
        "final_yes": numbers["r_final"] >= 0.5,
        "drawn": "as_asked" if share == 1 else "stays",
        "true_score": float(scores.dsr.score[0]) - 0.125,
        "box_iou": 0.875,
        "made_by": MADE_BY,
    }
    return SampleRow(**DsrSample.of(prompt, seed).model_dump(), **numbers | values | changes)


def make_tracks(sample: SampleRow, share: float, hidden: Sequence[int]) -> list[TrackRow]:
    """The tracks of the same boxes."""
    boxes: dict[str, list[Box | None]] = {
        ANIMAL: [None if frame in hidden else box for frame, box in enumerate(way(sample, share))],
        OBJECT: [STUMP] * N_FRAMES,
    }
    return [
        TrackRow(
            clip_id=sample.clip_id,
            role="animal" if instance_id == ANIMAL else "object",
            **MaskTrack.of(
                instance_id, [mask_of(box) for box in of], height=HEIGHT, width=WIDTH, anchor_frame=0
            ).model_dump(),
        )
        for instance_id, of in boxes.items()
    ]


def mask_of(box: Box | None) -> str:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if box is not None:
        left, top, right, bottom = (round(edge) for edge in box)
        mask[top:bottom, left:right] = True
    return encode_mask(mask)


class World:
    """The rows of a snapshot, in one shard."""

    def __init__(self, root: Path, **pairing: Any) -> None:
        self.root = root
        self.rows: dict[str, list[Any]] = {name: [] for name in SHARD_TABLES}
        self.prompts: dict[str, DsrPrompt] = {}
        self.seeds: dict[Split, set[int]] = {"train": set(), "test": set()}
        self.pairing = PairConfig(**pairing)

    def ask(self, prompt: DsrPrompt, seed: int) -> DsrSample:
        self.prompts[prompt.prompt_id] = prompt
        self.seeds[prompt.split].add(seed)
        return DsrSample.of(prompt, seed)

    def accept(
        self,
        prompt: DsrPrompt,
        seed: int,
        share: float = 1.0,
        hidden: Sequence[int] = (),
        *,
        damage: Callable[[bytes], bytes] = bytes,
        n_stored: int = N_FRAMES,
        **changes: Any,
    ) -> str:
        """A valid sample; `damage` is done to its video, which holds n_stored frames."""
        sample = make_sample(prompt, seed, share, hidden, **changes)
        video = damage(encode_video([np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)] * n_stored, 16))
        self.rows["samples"].append(sample)
        self.rows["videos"].append(
            VideoRow(clip_id=sample.clip_id, sha256=hashlib.sha256(video).hexdigest(), video=video)
        )
        self.rows["tracks"] += make_tracks(sample, share, hidden)
        self.end(prompt, seed, "accepted", DSR_STAGES[-1], None, drawn=sample.drawn)
        return sample.clip_id

    def end(
        self,
        prompt: DsrPrompt,
        seed: int,
        status: Status,
        stage: str,
        reason: str | None,
        detail: str | None = None,
        drawn: str | None = None,
    ) -> None:
        self.rows["outcomes"].append(
            SampleOutcomeRow(
                row_id=self.ask(prompt, seed).clip_id,
                kind="clip",
                status=status,
                stage=stage,
                reason=reason,
                detail=detail,
                retryable=status == "failed",
                prompt_id=prompt.prompt_id,
                split=prompt.split,
                type=prompt.dsr_type,
                seed=seed,
                drawn=drawn,
            )
        )

    def publish(self) -> Snapshot:
        snapshot = self.root / "snapshots" / "dsr-0123"
        pairs = pair_samples(self.rows["samples"], self.pairing)
        seeds = {split: sorted(asked) for split, asked in self.seeds.items()}
        prompts = prompt_rows(list(self.prompts.values()), seeds, self.rows["samples"], pairs, self.pairing)
        for table, record in SHARD_TABLES.items():
            write_table(record, self.rows[table], snapshot / table / "shard-1.parquet")
        for table, rows in {"prompts": prompts, "pairs": pairs}.items():
            write_table(WHOLE_TABLES[table], rows, snapshot / table / f"{table}.parquet")
        (snapshot / "manifest.json").write_bytes(self._manifest(snapshot).to_json())
        return Snapshot(snapshot)

    @property
    def work(self) -> Work:
        return Work(root=self.root / "work", inputs=Inputs(folder=self.root))

    def _manifest(self, snapshot: Path) -> SnapshotManifest:
        outcomes: list[SampleOutcomeRow] = self.rows["outcomes"]
        n = Counter(outcome.status for outcome in outcomes)
        ways = Counter((o.status, o.stage, o.reason) for o in outcomes)
        scoring = ScoreConfig(end_frames=END_FRAMES, score=next((s.score for s in self.rows["samples"]), "official"))
        configs = {"score_dsr": scoring, "pair_samples": self.pairing}
        of_prompts = {"unit": "prompts", "given": len(self.prompts), "passed": len(self.prompts)}
        return SnapshotManifest(
            snapshot_id="dsr-0123",
            flow="curate-dsr",
            dataset="dsr",
            format_version=2,
            configs=json.dumps({name: config.model_dump(mode="json") for name, config in configs.items()}),
            made_by=MADE_BY,
            n_given=len(self.prompts),
            n_inputs=len(outcomes),
            n_accepted=n["accepted"],
            n_rejected=n["rejected"],
            n_failed=n["failed"],
            funnel=[
                FunnelStep(stage="rewrite_prompts", rejected=0, failed=0, made=len(outcomes), **of_prompts),
                *_steps(outcomes),
            ],
            outcomes=[Count(status=s, stage=st, reason=r, n=n) for (s, st, r), n in sorted(ways.items(), key=str)],
            statistics=DSR.statistics(snapshot).model_dump(mode="json"),
            shards=[ShardEntry(shard_id="shard-1", clip_ids=[o.row_id for o in outcomes])],
            **tables_of(snapshot, SHARD_TABLES | WHOLE_TABLES),
        )


def _steps(outcomes: list[SampleOutcomeRow]) -> list[FunnelStep]:
    ways: Ways = Counter((row.kind, row.stage, row.status) for row in outcomes)
    steps: list[FunnelStep] = []
    for stage in DSR_STAGES:
        steps.append(funnel_step(ways, "clip", stage, "clips", steps[-1].passed if steps else len(outcomes)))
    return steps


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


def report_on(world: World, name: str = "report", **told: Any) -> tuple[Path, Page]:
    """told: what the page is told beside the snapshot"""
    index = report.write_report(world.publish(), world.root / name, PageContext(world.work, **told))
    return index, Page(index.read_text())


def by_class(svg: str, *names: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter() if {*names} <= {*e.get("class", "").split()}]


def points(element: ElementTree.Element) -> np.ndarray:
    """(N, 2): what a polyline goes through, y down."""
    return np.array([pair.split(",") for pair in element.attrib["points"].split()], float)


def lines(svg: str, name: str) -> list[np.ndarray]:
    return [points(path) for path in by_class(svg, "path", name) if "points" in path.attrib]


def first_title(svg: str) -> str | None:
    return next(title.text for title in ElementTree.fromstring(svg).iter("title"))


# --- What is on the page ---------------------------------------------------------------------


def test_the_numbers_on_top(world: World) -> None:
    train, test = make_prompt("RL"), make_prompt("RL", "test", 1)
    for seed, share in enumerate((1, 1, 0)):
        world.accept(train, seed, share)
    world.end(train, 3, "rejected", "score_dsr", "several_animals")
    world.end(train, 4, "failed", "ask_relations", "server_error")
    world.accept(test, 0)
    _, page = report_on(world)
    assert "Correctness@0.7, test 1.000 of 1 judged sample " in page.text
    assert "Correctness@0.7, train 0.500 of 4 judged samples" in page.text, "invalid ones count, failed ones do not"
    assert "Valid 80 % of 5 judged samples" in page.text
    assert "Pairs 2 of 1 prompt " in page.text
    assert "Prompts 2 1 test, 1 train" in page.text
    assert "6 inputs = 4 accepted + 1 rejected + 1 failed" in page.attributes("div", "aria-label")


@pytest.mark.parametrize(
    ("score", "told"),
    [
        ("official", "Scores are the official variant: the authors’ code, which halves the two gaps"),
        ("paper", "Scores are the paper variant: the formula as printed, gaps not halved"),
    ],
)
def test_the_variant_of_the_score_and_the_generator_are_named(world: World, score: str, told: str) -> None:
    world.accept(make_prompt(), 0, score=score)
    _, page = report_on(world)
    assert told in page.text
    assert "Videos by drawn 1 ." in page.text
    assert "−0.25 to 1.25" in page.text
    assert "Samples are valid by the rule rivals : nothing else" in page.text


def test_types_are_told_by_split_in_the_order_of_the_paper(world: World) -> None:
    world.accept(make_prompt("RL"), 0)
    world.accept(make_prompt("LT"), 0)
    world.accept(make_prompt("LT"), 1, 0)
    world.end(make_prompt("LT", "test", 1), 0, "rejected", "score_dsr", "too_few_frames")
    _, page = report_on(world)
    table = page.text[page.text.index("all types") :]
    assert table.startswith(  # @0.7, valid and judged of test, then of train
        "all types 0.000 0 % 1 0.667 100 % 3 A left to top 0.000 0 % 1 0.500 100 % 2 "
        "F right to left – – 0 1.000 100 % 1"
    )
    assert [chart for chart in page.attributes("svg", "aria-label") if " to " in chart][:2] == [
        "left to top",
        "right to left",
    ]


def test_a_card_tells_what_the_score_is_made_of(world: World) -> None:
    clip_id = world.accept(make_prompt("RL"), 3, 0.5, hidden=[2, 3])
    sample = world.rows["samples"][0]
    _, page = report_on(world)
    parts = [signed(getattr(sample, name)) for name in ("r_initial", "r_final", "g_initial", "g_final")]
    assert page.attributes("article", "id") == [clip_id]
    formula = "⅛ ( {} + {} + ½ ( {} + {} )) + ½ = ".format(*parts) + f"{sample.dsr_score:.3f}"
    assert formula in page.text
    halves = sample.r_initial + sample.r_final + (sample.g_initial + sample.g_final) / 2
    assert sample.dsr_score == pytest.approx(halves / 8 + 0.5)
    assert f"both found in 6 of 8 frames · true score {sample.dsr_score - 0.125:.3f} · box IoU 0.88" in page.text
    assert "Initially? yes Finally? no" in page.text
    assert "seed 3 drawn: stays" in page.text


def test_the_prompt_is_marked_in_the_colours_of_the_boxes(world: World) -> None:
    world.accept(make_prompt(), 0)
    _, page = report_on(world)
    marks = [attrs["style"] for tag, attrs in page.tags if tag == "mark"]
    assert marks == ["--c: #ff6b4a", "--c: #3fa7ff"] * 2


def test_what_was_drawn_is_held_against_the_score(world: World) -> None:
    prompt = make_prompt()
    world.accept(prompt, 0)
    world.accept(prompt, 1, true_score=1.25)
    world.accept(prompt, 2, 0)
    asked, stays = world.rows["samples"][0], world.rows["samples"][2]
    world.end(prompt, 3, "rejected", "score_dsr", "several_animals", drawn="as_asked")
    world.end(prompt, 4, "rejected", "score_dsr", "several_animals", drawn="second_animal")
    world.end(prompt, 5, "failed", "score_dsr", "error", drawn="second_animal")
    error = (0.125 + 1.25 - asked.dsr_score) / 2
    _, page = report_on(world)
    assert f"reach τ = 0.7 as_asked 2 1 {asked.dsr_score:.3f} {error:.3f} 0.88 2 second_animal 0 1 – – – 0" in page.text
    assert f"stays 1 0 {stays.dsr_score:.3f} 0.125 0.88 0" in page.text


def test_a_generator_that_cannot_say_what_it_drew_has_no_such_table(world: World) -> None:
    world.accept(make_prompt(), 0, drawn=None, true_score=None, box_iou=None)
    _, page = report_on(world)
    assert "What was drawn" not in page.text
    assert "both found in 8 of 8 frames Just" not in page.text
    assert "true score" not in page.text[page.text.index("both found in") :]


def test_invalid_samples_are_counted_and_listed_by_reason(world: World) -> None:
    prompt = make_prompt("TR")
    for seed in range(MAX_ROWS_PER_GROUP + 5):
        world.end(prompt, seed, "rejected", "score_dsr", "several_animals", "another fox on 3 of 8 sampled frames")
    world.end(prompt, 99, "rejected", "ground_instances", "no_interaction_left", "id2: no candidate")
    _, page = report_on(world)
    assert "score_dsr/several_animals 25 ground_instances/no_interaction_left 1" in page.text
    assert f"train · TR · {prompt.prompt_id} · seed 99 id2: no candidate" in page.text
    assert page.text.count("another fox on 3") == MAX_ROWS_PER_GROUP
    assert "… and 5 more." in page.text


def test_hostile_text_stays_text(world: World) -> None:
    prompt = make_prompt(text=f"A fox {HOSTILE} walks to the left of the stump.")
    prompt = prompt.model_copy(update={"animal": f"fox {HOSTILE}"})
    world.accept(prompt, 0, drawn=HOSTILE)
    world.end(prompt, 1, "rejected", "score_dsr", HOSTILE, HOSTILE)
    _, page = report_on(world)
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]  # the page's own
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert page.text.count("<script>alert('x')") >= 5


def test_nothing_is_loaded_from_elsewhere(world: World) -> None:
    clip_id = world.accept(make_prompt(), 0)
    index, page = report_on(world)
    tags, names = ("img", "video", "script", "link"), ("src", "href", "poster")
    links = [value for tag in tags for name in names for value in page.attributes(tag, name)]
    assert links == [f"clips/{clip_id}.mp4", f"clips/{clip_id}-0.jpg"]
    assert all((index.parent / link).is_file() for link in links)
    assert "url(" not in index.read_text()


def test_a_snapshot_of_nothing_is_reported(world: World) -> None:
    _, page = report_on(world)
    assert "Correctness@0.7 – no sample was judged" in page.text
    assert "No sample was judged." in page.text
    assert "There are no training prompts." in page.text
    assert page.text.count("No sample is valid.") == 3
    assert "Nothing was rejected" in page.text


def test_a_snapshot_of_invalid_samples_only_is_reported(world: World) -> None:
    world.end(make_prompt(), 0, "rejected", "score_dsr", "too_few_frames")
    _, page = report_on(world)
    assert "Valid 0 % of 1 judged sample" in page.text
    assert page.text.count("No sample is valid.") == 3
    assert "Nothing was rejected" not in page.text


def test_the_report_of_another_dataset_is_refused(world: World) -> None:
    folder = world.publish().folder
    of_videos = MatrixStatistics(
        contact_dynamism=[], interactions_per_clip=[], instances_per_clip=[], top_verbs=[], top_nouns=[]
    )
    changes = {"flow": "curate-matrix11k", "statistics": of_videos.model_dump()}
    (folder / "manifest.json").write_bytes(Snapshot(folder).manifest.model_copy(update=changes).to_json())
    with pytest.raises(ValueError, match="is of curate-matrix11k"):
        report.write_report(Snapshot(folder), world.root / "report", PageContext(world.work))


def test_only_calls_about_candidates_are_held_against_a_naive_scan(world: World) -> None:
    clip_id = world.accept(make_prompt(), 0)
    candidate = {"frame": 0, "box_xyxy": STUMP, "score": 0.5}
    for instance_id, verdict in ((ANIMAL, "accepted"), (OBJECT, "accepted"), (OBJECT, "not_asked")):
        row = CandidateRow(clip_id=clip_id, instance_id=instance_id, verdict=verdict, **candidate)
        world.rows["candidates"].append(row)
    spent = [
        StageUsage(shard_id="shard-1", stage=stage, rows=1, role="VLM", model="a-vlm", usage=Usage(calls=calls))
        for stage, calls in (("ground_instances", 2), ("ask_relations", 7))
    ]
    index, page = report_on(world, spent=spent)
    assert "ask_relations VLM · a-vlm" in page.text
    kept = usage_of(index.parent)
    assert kept is not None
    assert kept.whole.total.usage.calls == 9
    assert kept.whole.n_accepted == 1
    assert kept.whole.verification is not None
    assert (kept.whole.verification.n_calls, kept.whole.verification.n_candidates) == (2, 3)


def test_the_same_snapshot_gives_the_same_bytes(world: World) -> None:
    world.accept(make_prompt(), 0)
    world.accept(make_prompt(), 1, 0)
    folders = [report_on(world, name)[0].parent for name in ("a", "b")]
    files = [{p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")} for folder in folders]
    assert len(files[0]) == 1 + 2 * 2
    assert files[0] == files[1]


def test_the_page_appears_only_when_all_else_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, picture: np.ndarray) -> None:
        raise OSError("no space left")

    world.accept(make_prompt(), 0)
    monkeypatch.setattr("tasks.pages.film.write_jpeg", full_disk)
    with pytest.raises(OSError, match="no space"):
        report_on(world)
    assert not (world.root / "report" / "index.html").exists()


def test_it_may_lie_in_a_store(world: World) -> None:
    clip_id = world.accept(make_prompt(), 0)
    folder = parse_path("memory://reports-of-tests/dsr-0123")
    index = report.write_report(world.publish(), folder, PageContext(world.work))
    assert index == folder / "index.html"
    assert clip_id in index.read_bytes().decode()
    assert (folder / "clips" / f"{clip_id}.mp4").is_file()


# --- Which samples ---------------------------------------------------------------------------


def test_the_widest_pair_of_each_prompt_is_shown_type_by_type(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow, other = make_prompt("LT"), make_prompt("LT", number=1), make_prompt("RL")
    best, _, worst = (world.accept(wide, seed, share) for seed, share in enumerate((1, 0.9, 0)))
    narrow_pair = [world.accept(narrow, seed, share) for seed, share in enumerate((0.9, 0.1))]
    other_pair = [world.accept(other, seed, share) for seed, share in enumerate((1, 0))]
    snapshot = world.publish()
    pairs = [(best, worst), tuple(other_pair), tuple(narrow_pair)]
    assert choose_examples(snapshot, 0.7, max_pairs=3).pairs == pairs
    assert choose_examples(snapshot, 0.7, max_pairs=2).pairs == pairs[:2]
    monkeypatch.setattr(report, "MAX_PAIRS", 1)
    _, page = report_on(world)
    assert page.attributes("article", "id")[:2] == [best, worst]
    assert page.text.index(" winner ", page.text.index("Examples")) < page.text.index(" loser ")


def test_the_ends_of_the_scale_and_both_sides_of_the_threshold_are_shown_once(world: World) -> None:
    prompt = make_prompt("RL", "test")
    shares = {"best": 1.0, "second": 0.8, "above": 0.6, "below": 0.2, "third": 0.1, "worst": 0.0}
    ids = {name: world.accept(prompt, seed, share) for seed, (name, share) in enumerate(shares.items())}
    examples = choose_examples(world.publish(), 0.7, max_pairs=6)
    assert examples.pairs == [], "test prompts are never paired"
    assert examples.singles == {
        "best score": ids["best"],
        "lowest score that reaches τ": ids["above"],
        "highest score below τ": ids["below"],
        "lowest score": ids["worst"],
    }


def test_one_sample_is_one_example(world: World) -> None:
    clip_id = world.accept(make_prompt(), 0)
    assert choose_examples(world.publish(), 0.7, max_pairs=6).singles == {"best score": clip_id}


def test_a_score_at_the_threshold_reaches_it_whatever_floats_make_of_it(world: World) -> None:
    clip_id = world.accept(make_prompt(), 0, dsr_score=0.7 - 1e-12)
    world.accept(make_prompt(), 1, 0)
    world.accept(make_prompt(), 2, 1)
    assert choose_examples(world.publish(), 0.7, max_pairs=0).singles["lowest score that reaches τ"] == clip_id


# --- Pairs -----------------------------------------------------------------------------------


def test_prompts_without_a_pair_are_told_with_the_reason(world: World) -> None:
    world.accept(make_prompt("LT"), 0)
    world.accept(make_prompt("LT"), 1, 0)
    world.accept(make_prompt("LT", number=1), 0, 0)
    world.accept(make_prompt("LT", number=1), 1, 0.1)
    world.accept(make_prompt("RL"), 0)
    world.accept(make_prompt("RL"), 1, 0.9)
    world.accept(make_prompt("RL", number=1), 0)
    world.end(make_prompt("RL", number=1), 1, "rejected", "score_dsr", "too_few_frames")
    world.accept(make_prompt("RL", "test", 2), 0)
    _, page = report_on(world)
    pairs = page.text[page.text.index("1 pair of 1 training prompt") :]
    assert "fewer than two valid samples none reaches τ all reach τ" in pairs
    assert "all types 4 1 1 1 1 1 A left to top 2 1 1 0 1 0 F right to left 2 0 0 1 0 1" in pairs


@pytest.mark.parametrize(
    ("rewards", "rule", "reason"),
    [
        ([], "threshold", TOO_FEW),
        ([0.9, None, None], "threshold", TOO_FEW),
        ([0.9, None, 0.7], "threshold", NO_LOSER),
        ([0.1, 0.69], "threshold", NO_WINNER),
        ([0.9], "ranked", TOO_FEW),
        ([0.5, 0.5], "ranked", NO_DIFFERENCE),
    ],
)
def test_why_a_prompt_has_no_pair(rewards: list[float | None], rule: Any, reason: str) -> None:
    assert why_unpaired(rewards, PairConfig(rule=rule)) == reason


@pytest.mark.parametrize(
    ("pairing", "told"),
    [
        ({"rule": "ranked"}, "the one with the greater reward wins; no threshold"),
        ({"reward": "endpoint"}, "The reward is the DSR-Score without its gaps"),
        ({"reward": "vlm"}, "the share of yes among the judge’s two answers"),
        ({"per_prompt": 2}, "At most 2 are drawn for a prompt."),
    ],
)
def test_the_rule_and_the_reward_of_pairs_are_told(tmp_path: Path, pairing: dict[str, Any], told: str) -> None:
    world = World(tmp_path, **pairing)
    world.end(make_prompt(), 0, "rejected", "score_dsr", "too_few_frames")
    _, page = report_on(world)
    assert told in page.text


def test_scores_are_held_against_the_threshold_of_pairs_only_if_pairs_are_made_by_scores(tmp_path: Path) -> None:
    def tau_of(**pairing: Any) -> float:
        return Settings.of(World(tmp_path / str(len(pairing)), **pairing).publish().manifest).tau

    assert tau_of(tau=0.6) == 0.6
    assert tau_of(tau=0.6, reward="vlm") == 0.7


# --- Films -----------------------------------------------------------------------------------


def test_a_film_shows_every_frame_with_the_boxes_of_that_frame(world: World) -> None:
    prompt, hidden = make_prompt("RL"), [1]
    clip_id = world.accept(prompt, 0, hidden=hidden)
    index, page = report_on(world)
    assert page.attributes("video", "src") == [f"clips/{clip_id}.mp4"]
    frames = [frame for _, frame in iter_frames(index.parent / "clips" / f"{clip_id}.mp4")]
    assert len(frames) == N_FRAMES
    assert all(has_colour(frame, colour_of(OBJECT), (60, 59)) for frame in frames), "on its lower edge"
    for number in (0, 1, 6, 7):  # between them the two boxes overlap
        left, _, right, bottom = way(prompt, 1.0)[number]
        edge = round((left + right) / 2), round(bottom) - 1
        assert has_colour(frames[number], colour_of(ANIMAL), edge) == (number not in hidden)
    poster = cv2.imread(str(index.parent / "clips" / f"{clip_id}-0.jpg"))
    assert poster is not None
    assert poster.shape == (HEIGHT, WIDTH, 3)


def has_colour(frame: np.ndarray, colour: Colour, place: tuple[int, int]) -> bool:
    """place: x, y"""
    x, y = place
    return bool(np.abs(frame[y, x].astype(int) - colour).max() < 60)


@pytest.mark.parametrize(
    "fault", [{"n_stored": N_FRAMES - 1}, {"n_stored": N_FRAMES + 1}, {"damage": lambda video: video[:200]}]
)
def test_a_video_that_is_not_the_samples_leaves_a_gap(world: World, fault: dict[str, Any]) -> None:
    clip_id = world.accept(make_prompt(), 0, **fault)
    index, page = report_on(world)
    assert "The film cannot be shown." in page.text
    assert page.attributes("article", "id") == [clip_id], "its curves are shown all the same"
    assert not (index.parent / "clips" / f"{clip_id}.mp4").exists()


def test_what_is_shown_of_a_sample_can_be_written_as_json(world: World) -> None:
    clip_id = world.accept(make_prompt("RL"), 0, hidden=[0, 4])
    (view,) = sample_views(world.publish(), [clip_id], world.root)
    assert SampleView.model_validate_json(view.model_dump_json()) == view
    assert (view.type_letter, view.type_name, view.reaches_tau) == ("F", "right to left", True)
    assert (view.first_found, view.last_found) == ([1, 2], [6, 7])


# --- Curves over frames ----------------------------------------------------------------------


def ssr_chart_of(sample: SampleRow) -> str:
    settings = Settings("official", "rivals", END_FRAMES, PairConfig(), "a generator", "a judge", judged_by_boxes=False)
    return ssr_chart(sample_view(sample, settings))


def test_the_two_curves_cross_and_break_where_not_both_were_found() -> None:
    chart = ssr_chart_of(make_sample(make_prompt("RL"), 0, hidden=[0, 4]))
    (before, after), (rising, risen) = (lines(chart, kind) for kind in ("initial", "final"))
    assert [len(part) for part in (before, after, rising, risen)] == [3, 3, 3, 3]
    assert before[0, 1] < after[-1, 1], "the initial relation falls; y is down"
    assert rising[0, 1] > risen[-1, 1], "the final one rises"
    missing = by_class(chart, "missing")
    assert len(missing) == 2
    frame_px = after[1, 0] - after[0, 0]
    assert float(missing[1].attrib["width"]) == pytest.approx(frame_px, abs=0.2)
    (playhead,) = by_class(chart, "playhead")
    assert float(playhead.attrib["data-step"]) == pytest.approx(frame_px, abs=0.1)


def test_means_lie_at_their_height_over_the_found_frames_at_either_end() -> None:
    sample = make_sample(make_prompt("RL"), 0, 0.5, hidden=[0])
    chart = ssr_chart_of(sample)
    top, bottom = (float(line.attrib["d"].split("M34 ")[1].split("H")[0]) for line in by_class(chart, "grid")[::3])
    for kind, mean in {"initial": sample.r_initial, "final": sample.r_final}.items():
        (dot,) = by_class(chart, "mean", kind)
        assert float(dot.attrib["cy"]) == pytest.approx((top + bottom) / 2 - mean * (bottom - top) / 2, abs=0.1)
        (value,) = by_class(chart, "value", kind)
        assert value.text == f"{mean:.2f}".replace("-", "−")
    (line,) = lines(chart, "initial")
    (dot,) = by_class(chart, "mean", "initial")
    assert float(dot.attrib["cx"]) == pytest.approx(line[:END_FRAMES, 0].mean(), abs=0.1), "frame 0 is missing"


def test_runs_of_frames() -> None:
    assert runs([None, 0.5, 0.25, None, 0.5]) == [[(1, 0.5), (2, 0.25)], [(3.7, 0.5), (4.3, 0.5)]]
    assert runs([None, None]) == []


def test_a_sample_of_one_frame_is_drawn() -> None:
    sample = make_sample(make_prompt(), 0)
    one = sample.model_copy(update={"n_frames": 1, "ssr_initial": [0.5], "ssr_final": [None]})
    ElementTree.fromstring(ssr_chart_of(one))


# --- Correctness, scores, answers ------------------------------------------------------------


def test_correctness_curves_are_in_proportion(world: World) -> None:
    for seed, share in enumerate((1, 1, 0, 0)):
        world.accept(make_prompt("RL"), seed, share)
    world.accept(make_prompt("RL", "test", 1), 0)
    statistics = world.publish().statistics(DsrStatistics)
    curves = curves_of(statistics)
    assert list(curves) == ["", "RL"]
    assert list(curves[""]) == ["test", "train"]
    overall = curve_chart(curves[""], statistics.taus, LARGE, "all types")
    (train,) = lines(overall, "train")
    assert len(train) == len(statistics.taus)
    floor, top = LARGE.y_of(0), LARGE.y_of(1)
    assert floor > top, "y is down"
    assert train[0, 1] == pytest.approx(top), "at 0 it is the share of valid samples"
    assert train[14, 1] == pytest.approx((floor + top) / 2, abs=0.1), "taus go by 0.05: the 14th is 0.7"
    (dot,) = by_class(overall, "dot", "train")
    assert float(dot.attrib["cx"]) == pytest.approx(train[14, 0], abs=0.1)
    assert [reading.text for reading in by_class(overall, "reading")] == ["test 1.000", "train 0.500"]


def test_bars_of_scores_lie_on_their_side_of_the_threshold() -> None:
    counts = [0] * 30
    counts[18], counts[19], counts[25] = 3, 6, 3  # 0.65, 0.7 and 1: the greatest score there is
    chart = score_chart(counts, (0.0, 1.0), 0.7)
    (below,) = by_class(chart, "bar", "below")
    reach, best = by_class(chart, "bar", "above")
    heights = [float(bar.attrib["height"]) for bar in (below, reach, best)]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.1)
    assert heights[0] == heights[2]
    line = float(by_class(chart, "tau")[0].attrib["d"][1:].split()[0])
    edges = [(float(b.attrib["x"]), float(b.attrib["x"]) + float(b.attrib["width"])) for b in (below, reach, best)]
    assert edges[0][1] < line < edges[1][0]
    assert edges[2][1] <= 440, "the greatest score is drawn within the scale"
    assert first_title(chart) == "0.65 to 0.70: 3"


def test_answers_are_stacked_by_their_shares() -> None:
    bins = vlm_agreement([-0.95, -0.95, -0.95, -0.95, 0.95], [True, False, False, False, True])
    chart = agreement_chart(bins, "r initial")
    yes, no = ([float(bar.attrib["height"]) for bar in by_class(chart, name)] for name in ("yes", "no"))
    assert yes == [pytest.approx(no[0] / 3, abs=0.1), pytest.approx(yes[0] + no[0], abs=0.1)]
    assert no[1] == 0
    assert [n.text for n in by_class(chart, "n")] == ["4", "1"]
    assert first_title(chart) == "-1.0 to -0.9: 1 yes, 3 no"


def test_bins_without_a_sample_stay_empty() -> None:
    assert by_class(agreement_chart([AgreementBin(-1, 0, 0, 0), AgreementBin(0, 1, 0, 0)], "r"), "yes") == []


def test_a_yes_to_the_opposite_is_told(world: World) -> None:
    world.accept(make_prompt("RL"), 0, 0, final_yes=True)
    world.accept(make_prompt("RL"), 1, 0, final_yes=False)
    world.accept(make_prompt("RL"), 2, 1)
    world.accept(make_prompt("RL"), 3, 1, r_final=0.25)
    _, page = report_on(world)
    assert "Yes to 1 of 2 samples with a negative SSR-Score" in page.text
    assert "No sample has a negative SSR-Score." in page.text
    assert "answered by boxes 1" in page.text
    assert "they agree by construction" in page.text


def test_types_beyond_the_papers_have_a_place_and_their_code_for_a_name() -> None:
    assert in_table_order(["RL", "LB", "LT", "BL", "LT"]) == ["LT", "RL", "BL", "LB"]
    assert type_name("LB") == "LB"
    assert type_name("TR") == "top to right"
    assert (type_letter("TR"), type_letter("LB"), type_letter("")) == ("E", "", "")
