"""tasks.backends.grounding_dino: captions, boxes and frames on known values; tiny networks through their real
libraries, saved and loaded as a user's checkpoints are."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.instance import Instance
from schemas.outcome import RowFailed, ServiceDown
from tasks.backends import torch_runtime
from tasks.backends.grounding_dino import DinoConfig, detector
from tasks.backends.grounding_dino.detector import (
    MAX_BOXES,
    GroundingDino,
    Network,
    class_scores,
    feature_cells,
    network_input,
    proposals_of,
    scaled_size,
    to_pixels,
)
from tasks.backends.grounding_dino.native import NativeGroundingDino, architecture_settings
from tasks.backends.grounding_dino.port import PortedGroundingDino
from tasks.backends.grounding_dino.prompts import (
    MAX_CAPTION_TOKENS,
    caption_of,
    captions_of,
    in_passes,
    phrase_of,
    token_columns,
)
from tasks.backends.people import non_maximum_suppression
from tasks.backends.torch_runtime import TorchConfig
from tests.backends.test_torch_runtime import fetch, served
from tests.support.builders import make_instance
from tests.support.tiny_dino import NATIVE_SETTINGS, build_native, save_native, save_port, save_text_encoder

models = pytest.mark.models
FRAMES = np.random.default_rng(0).integers(0, 256, (5, 60, 90, 3), dtype=np.uint8)
INSTANCES = [make_instance("id1", "Man"), make_instance("id2", "wine glass"), make_instance("id3", "man")]
ONE_THREAD = TorchConfig(device="cpu", threads=1)


# --- Captions --------------------------------------------------------------------------------


def test_a_caption_closes_every_class_with_a_full_stop() -> None:
    caption = caption_of([phrase_of("Man"), phrase_of("  Wine\tGlass ")])
    assert caption == ("man . wine glass .", {"man": (0, 3), "wine glass": (6, 16)})
    assert [caption.text[start:end] for start, end in caption.spans.values()] == ["man", "wine glass"]


def test_classes_are_packed_in_their_order() -> None:
    assert in_passes({"a": 1, "b": 1, "c": 1, "d": 3}, limit=4) == [["a", "b"], ["c"], ["d"]]
    assert in_passes({"a": 1, "b": 2}, limit=4) == [["a"], ["b"]]
    assert in_passes({"a": 1, "b": 2}, limit=5) == [["a", "b"]]
    assert in_passes({}, limit=254) == []


def test_the_tokens_of_a_class_are_those_inside_its_span() -> None:
    # [CLS] man . wine glass . [SEP]
    offsets = [(0, 0), (0, 3), (4, 5), (6, 10), (11, 16), (17, 18), (0, 0)]
    assert token_columns(offsets, (0, 3)) == [1]
    assert token_columns(offsets, (6, 16)) == [3, 4]


# --- Boxes -----------------------------------------------------------------------------------


def test_boxes_become_pixels_inside_the_frame() -> None:
    boxes = np.array([[0.5, 0.5, 0.2, 0.4], [0.0, 1.0, 0.5, 0.5]])
    assert to_pixels(boxes, width=100, height=50) == pytest.approx(np.array([[40, 15, 60, 35], [0, 37.5, 25, 50]]))


def test_of_overlapping_boxes_the_best_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [0, 0, 10, 4]], float)
    scores = np.array([0.5, 0.9, 0.7, 0.1])
    assert non_maximum_suppression(boxes, scores, max_iou=0.8, limit=10) == [1, 2, 3]
    assert non_maximum_suppression(boxes, scores, max_iou=0.9, limit=10) == [
        1,
        2,
        0,
        3,
    ]  # 0 and 1 overlap by exactly 0.9
    assert non_maximum_suppression(boxes, scores, max_iou=0.3, limit=10) == [1, 2]
    assert non_maximum_suppression(boxes, scores, max_iou=1, limit=2) == [1, 2]
    assert non_maximum_suppression(boxes[:0], scores[:0], max_iou=0.8, limit=10) == []


def test_equal_scores_are_ordered_by_place_not_by_the_network() -> None:
    boxes = np.array([[30, 0, 40, 9], [0, 5, 9, 9], [0, 0, 9, 4]], float)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        kept = non_maximum_suppression(boxes[order], np.full(3, 0.5), max_iou=0.8, limit=3)
        assert boxes[order][kept].tolist() == boxes[[2, 1, 0]].tolist()


def test_a_proposal_has_the_score_and_a_pixel() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 20.5, 10], [40, 0, 50, 10], [60, 0, 70, 10]], float)
    found = proposals_of(3, boxes, np.array([0.25, 0.9, 0.24, 0.8], np.float32), min_score=0.25, max_iou=0.8)
    assert [(p.frame, p.box_xyxy) for p in found] == [(3, (60, 0, 70, 10)), (3, (0, 0, 10, 10))]


def test_a_network_that_says_yes_to_everything_is_bounded() -> None:
    corners = np.random.default_rng(0).uniform(0, 400, (900, 2))
    boxes = np.hstack([corners, corners + 20])
    assert len(proposals_of(0, boxes, np.full(900, 0.5), min_score=0, max_iou=1)) == MAX_BOXES


# --- Frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((480, 720), (800, 1200)),
        ((720, 480), (1200, 800)),
        ((1080, 1920), (750, 1333)),
        ((800, 800), (800, 800)),
        ((97, 131), (800, 1080)),
        ((2, 4000), (1, 2000)),
    ],
)
def test_frames_get_the_size_that_the_weights_were_trained_on(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    assert scaled_size(*size, 800, 1333) == scaled


def test_feature_cells_of_a_common_input() -> None:
    assert feature_cells(800, 1200) == 100 * 150 + 50 * 75 + 25 * 38 + 13 * 19


@models
@pytest.mark.parametrize("size", [(48, 72), (131, 97), (1080, 1920), (33, 100)])
def test_the_input_is_the_librarys_own_to_a_grey_level(size: tuple[int, int]) -> None:
    import torch

    torch_runtime.import_torchvision()
    from groundingdino.datasets import transforms
    from PIL import Image

    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    reference = transforms.Compose(
        [
            transforms.RandomResize([80], max_size=133),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    expected, _ = reference(Image.fromarray(frame), None)
    got = network_input(frame[None], scaled_size(*size, 80, 133), torch.device("cpu"))[0]
    assert got.shape == expected.shape
    assert (got - expected).abs().max() < 1.01 / 255 / 0.224  # Pillow rounds, once in width and once in height


# --- Networks --------------------------------------------------------------------------------

Saved = tuple[type[GroundingDino], DinoConfig]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> DinoConfig:
    return save_native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> DinoConfig:
    return save_port(tmp_path_factory.mktemp("port"))


@pytest.fixture(params=["native", "port"])
def saved(request: pytest.FixtureRequest) -> Saved:
    """A detector's class with the config of a tiny checkpoint."""
    config = request.getfixturevalue(request.param)
    return (NativeGroundingDino if request.param == "native" else PortedGroundingDino), config


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: no network is loaded."""
    monkeypatch.setattr(torch_runtime, "_loaded", {})


def propose(saved: Saved, instances: list[Instance] = INSTANCES, frames: np.ndarray = FRAMES, **changes: Any) -> Any:
    detector_class, config = saved
    return detector_class(config.model_copy(update=changes), ONE_THREAD).propose(frames, instances)


Forward = Callable[[Any, str], Any]


def with_passes(saved: Saved, run: Callable[[Forward, Any, str], Any], loads: list[Network]) -> GroundingDino:
    """The detector, its passes made by `run(forward, pixels, caption)`; networks that it loads go to `loads`."""
    detector_class, config = saved

    class Watched(detector_class):
        def _load(self, device: Any) -> Network:
            network = super()._load(device)
            loads.append(network)
            return dataclasses.replace(network, forward=lambda pixels, caption: run(network.forward, pixels, caption))

    return Watched(config, ONE_THREAD)


@models
@pytest.mark.usefixtures("unloaded")
def test_all_classes_in_one_pass_frames_in_batches_one_load(saved: Saved) -> None:
    said: list[tuple[int, str]] = []
    loads: list[Network] = []

    def run(forward: Forward, pixels: Any, caption: str) -> Any:
        said.append((len(pixels), caption))
        return forward(pixels, caption)

    with_passes(saved, run, loads).propose(FRAMES, INSTANCES)
    assert said == [(4, "man . wine glass ."), (1, "man . wine glass .")]
    with_passes(saved, run, loads).propose(FRAMES[:1], INSTANCES)
    assert len(loads) == 1


@models
def test_a_batch_is_one_frame_after_the_other(saved: Saved) -> None:
    together, alone = propose(saved, batch_frames=4), propose(saved, batch_frames=1)
    for instance_id, proposals in together.items():
        assert len(proposals) == len(alone[instance_id]) > 0
        for p, q in zip(proposals, alone[instance_id], strict=True):
            assert p.frame == q.frame
            assert p.score == pytest.approx(q.score, abs=1e-4)
            assert p.box_xyxy == pytest.approx(q.box_xyxy, abs=1e-4)


@models
def test_a_frame_stands_for_itself(saved: Saved) -> None:
    shown = propose(saved, batch_frames=1)["id1"]
    reversed_ = propose(saved, frames=FRAMES[::-1], batch_frames=1)["id1"]
    assert sorted((4 - p.frame, p.box_xyxy) for p in reversed_) == sorted((p.frame, p.box_xyxy) for p in shown)


@models
def test_a_thread_that_used_torch_before_gives_the_same_bytes(saved: Saved) -> None:
    # torch keeps its number of threads by thread: here one computes with two before it is given the frames.
    import torch

    def busy() -> int:
        torch.set_num_threads(2)
        return int((torch.ones(300, 300) @ torch.ones(300, 300)).sum())

    frames = np.random.default_rng(0).integers(0, 256, (2, 240, 320, 3), dtype=np.uint8)
    large = {"short_side_px": 240, "long_side_px": 400}
    expected = propose(saved, frames=frames, **large)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(busy).result()
        assert pool.submit(lambda: propose(saved, frames=frames, **large)).result() == expected


@models
@pytest.mark.usefixtures("unloaded")
def test_one_pass_at_a_time_whichever_detector_asks(saved: Saved) -> None:
    inside: list[str] = []
    most: list[int] = []
    loads: list[Network] = []

    def run(forward: Forward, pixels: Any, caption: str) -> Any:
        inside.append(caption)
        time.sleep(0.05)
        most.append(len(inside))
        said = forward(pixels, caption)
        inside.pop()
        return said

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: with_passes(saved, run, loads).propose(FRAMES[:1], INSTANCES), range(3)))
    assert most == [1, 1, 1]
    assert len(loads) == 1


@models
def test_boxes_become_proposals_while_the_next_row_is_in_the_network(
    saved: Saved, unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first row's boxes wait for the second row's pass."""
    expected = propose(saved)
    monkeypatch.setattr(torch_runtime, "_loaded", {})
    passes: list[str] = []
    second_is_in = threading.Event()

    def run(forward: Forward, pixels: Any, caption: str) -> Any:
        passes.append(caption)
        if len(passes) == 3:  # of two each: five frames in batches of four
            second_is_in.set()
        return forward(pixels, caption)

    def watched(*args: Any) -> Any:
        assert second_is_in.wait(timeout=20)
        return proposals_of(*args)

    monkeypatch.setattr(detector, "proposals_of", watched)
    watching = with_passes(saved, run, [])
    with ThreadPoolExecutor(watching.concurrency) as pool:
        assert list(pool.map(lambda _: watching.propose(FRAMES, INSTANCES), range(2))) == [expected, expected]


@models
def test_thresholds_bound_scores_and_overlap(saved: Saved) -> None:
    assert all(p.score >= 0.9 for p in propose(saved, box_threshold=0.9)["id2"])
    every = propose(saved, box_threshold=0, nms_iou=1)["id2"]
    assert len(every) > len(propose(saved, box_threshold=0, nms_iou=0.05)["id2"])
    assert len(every) <= 5 * 20  # frames x queries


@models
def test_bfloat16_runs(saved: Saved) -> None:
    found = propose(saved, precision="bfloat16")
    assert found["id2"]
    assert found != propose(saved)


@models
def test_identity_tells_what_answers_depend_on(saved: Saved) -> None:
    detector_class, config = saved

    def identity(**changes: Any) -> dict[str, str]:
        return detector_class(config.model_copy(update=changes), ONE_THREAD).identity

    changes: list[dict[str, Any]] = [
        {"box_threshold": 0.4},
        {"nms_iou": 0.5},
        {"precision": "bfloat16"},
        {"short_side_px": 400},
        {"long_side_px": 700},
    ]
    assert len({json.dumps(identity(**change)) for change in [{}, *changes]}) == 6
    assert identity(batch_frames=1) == identity()
    assert "transformers" in identity()


@models
@pytest.mark.usefixtures("unloaded")
def test_more_classes_than_a_caption_holds_take_several_passes(saved: Saved) -> None:
    captions: list[str] = []

    def run(forward: Forward, pixels: Any, caption: str) -> Any:
        captions.append(caption)
        return forward(pixels, caption)

    many = [make_instance(f"id{i}", f"ball {i}") for i in range(1, 100)]
    assert len(with_passes(saved, run, []).propose(FRAMES[:1], many)) == 99
    assert [caption.count(".") for caption in captions] == [65, 34]


@models
def test_no_caption_is_longer_than_the_network_reads(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_text_encoder(tmp_path / "bert"))
    for n in range(1, 9):  # the last class that fits ends on the limit, or a token or more before it
        captions = captions_of(["x" * n, *(f"ball {chr(97 + i % 26)} {i // 26}" for i in range(100))], tokenizer)
        lengths = [len(tokenizer(c.text)["input_ids"]) for c in captions]
        assert len(lengths) == 2
        assert MAX_CAPTION_TOKENS - 4 < lengths[0] <= MAX_CAPTION_TOKENS


@models
@pytest.mark.parametrize(
    "class_name",
    ["dr. who", ".", "what?", "   ", "\u200b", "[SEP]", "man [MASK]", "[CLS] ball", "crème \U0001f600", "x" * 300],
)
def test_a_class_that_cannot_stand_in_a_caption_fails_the_row(saved: Saved, class_name: str) -> None:
    with pytest.raises(RowFailed, match="cannot read the class") as failure:
        propose(saved, [make_instance("id1", "man"), make_instance("id2", class_name)])
    assert failure.value.reason == "bad_class_name"
    assert not failure.value.retryable


@models
def test_accents_and_case_change_nothing(saved: Saved) -> None:
    assert propose(saved, [make_instance("id1", " MÁN")]) == propose(saved, [make_instance("id1", "man")])


@models
def test_a_class_scores_as_its_best_token(tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_text_encoder(tmp_path / "bert"))
    caption = caption_of(["man", "wine glass", "ball"])  # [CLS] man . wine glass . ball . [SEP]
    logits = torch.full((1, 2, 256), -torch.inf)
    logits[0, :, :9] = torch.tensor([[9.0, -4, 9, -1, 2, 9, 0, 9, 9], [9.0, 3, 9, -1, -2, 9, 1, 9, 9]])
    expected = torch.tensor([[-4.0, 2, 0], [3, -1, 1]]).sigmoid()
    assert class_scores(logits, caption, tokenizer)[0].tolist() == expected.tolist()


@models
def test_a_sliver_of_a_frame_fails_the_row(tmp_path: Path) -> None:
    config = save_port(tmp_path, num_queries=60)
    with pytest.raises(RowFailed, match="300x2 px") as failure:
        propose((PortedGroundingDino, config), frames=np.zeros((1, 2, 300, 3), np.uint8))
    assert failure.value.reason == "frame_too_narrow"


@models
@pytest.mark.usefixtures("unloaded")
def test_numbers_that_are_none_fail_the_row(saved: Saved) -> None:
    def run(forward: Forward, pixels: Any, caption: str) -> Any:
        logits, boxes = forward(pixels, caption)
        return logits * float("nan"), boxes

    with pytest.raises(RowFailed) as failure:
        with_passes(saved, run, []).propose(FRAMES, INSTANCES)
    assert failure.value.reason == "not_finite"


# --- groundingdino-py ------------------------------------------------------------------------


@models
def test_captions_and_columns_are_the_librarys(native: DinoConfig) -> None:
    torch_runtime.import_torchvision()
    from groundingdino.util.vl_utils import build_captions_and_token_span, create_positive_map_from_span
    from transformers import AutoTokenizer

    classes = ["man", "wine glass", "ball", "bicycle wheel"]
    text, spans = build_captions_and_token_span(classes, force_lowercase=True)
    caption = caption_of(classes)
    assert caption.text == text
    tokenizer = AutoTokenizer.from_pretrained(native.text_encoder)
    positive = create_positive_map_from_span(tokenizer(text), [spans[c] for c in classes])
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    for row, span in zip(positive, caption.spans.values(), strict=True):
        assert token_columns(offsets, span) == row.nonzero().flatten().tolist()


@models
def test_a_loaded_checkpoint_answers_as_the_network_that_was_saved(native: DinoConfig) -> None:
    import torch

    network = build_native(native.architecture, native.text_encoder).eval()
    pixels = network_input(FRAMES[:1], (96, 144), torch.device("cpu"))
    with torch.inference_mode():
        expected = network(pixels, captions=["man ."])
    detector = NativeGroundingDino(native, ONE_THREAD)
    logits, boxes = detector._load(torch_runtime.device_of(ONE_THREAD)).forward(pixels, "man .")
    assert torch.equal(logits, expected["pred_logits"])
    assert torch.equal(boxes, expected["pred_boxes"])
    assert boxes[0].std(dim=0).min() > 0.01


@models
def test_a_checkpoint_without_its_wrapper_loads_too(native: DinoConfig, tmp_path: Path, unloaded: None) -> None:
    import torch

    bare = tmp_path / "bare.pth"
    torch.save(build_native(native.architecture, native.text_encoder).state_dict(), bare)
    same = native.model_copy(update={"checkpoint": str(bare)})
    assert propose((NativeGroundingDino, same)) == propose((NativeGroundingDino, native))


@models
def test_the_published_architectures_are_at_hand() -> None:
    assert architecture_settings("swin_t")["backbone"] == "swin_T_224_1k"
    assert architecture_settings("swin_b")["backbone"] == "swin_B_384_22k"
    assert architecture_settings("swin_b")["num_queries"] == 900


@models
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("own.json", '{"num_querys": 3}', "unknown settings num_querys; known are "),
        ("own.json", "[1, 2]", "must hold a JSON object"),
        ("own.json", "{", "readable JSON file"),
        ("own.py", "raise SystemExit('executed')", "readable JSON file"),
        ("none.json", None, "readable JSON file"),
    ],
)
def test_settings_that_are_none(native: DinoConfig, tmp_path: Path, name: str, text: str | None, said: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ServiceDown, match=said):
        propose((NativeGroundingDino, native.model_copy(update={"architecture": str(file)})))


@models
def test_an_architecture_of_ones_own_has_no_weights_on_the_hub(native: DinoConfig) -> None:
    with pytest.raises(ServiceDown, match=r"set dino\.checkpoint to the path"):
        NativeGroundingDino(native.model_copy(update={"checkpoint": None}), ONE_THREAD)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def another_shape(file: Path) -> None:
    change_state(file, lambda state: state | {"module.feat_map.weight": state["module.feat_map.weight"][:, :5]})


def one_weight_short(file: Path) -> None:
    change_state(file, lambda state: {k: v for k, v in state.items() if k != "module.feat_map.weight"})


def one_weight_more(file: Path) -> None:
    change_state(file, lambda state: state | {"module.more": state["module.feat_map.weight"]})


def change_state(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    import torch

    torch.save({"model": change(torch.load(file)["model"])}, file)


def a_tensor(file: Path) -> None:
    import torch

    torch.save(torch.zeros(3), file)


class Malicious:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def pickled_code(file: Path) -> None:
    import torch

    torch.save({"model": Malicious()}, file)


def removed(file: Path) -> None:
    file.unlink()


@models
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (removed, "no checkpoint at"),
        (truncated, "is the download complete"),
        (another_shape, "are these the weights of this architecture"),
        (one_weight_short, r"1 \(feat_map.weight, ...\) missing"),
        (one_weight_more, r"1 \(more, ...\) left over"),
        (a_tensor, "holds a Tensor"),
        (pickled_code, "cannot load"),
    ],
)
def test_a_broken_checkpoint_is_a_service_down(
    native: DinoConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: Callable[[Path], None], said: str
) -> None:
    file = tmp_path / "tiny.pth"
    assert native.checkpoint
    file.write_bytes(Path(native.checkpoint).read_bytes())
    damage(file)
    with pytest.raises(ServiceDown, match=said):
        propose((NativeGroundingDino, native.model_copy(update={"checkpoint": str(file)})))
    assert "executed" not in capfd.readouterr().out


@models
def test_weights_of_another_architecture(native: DinoConfig, tmp_path: Path) -> None:
    deeper = tmp_path / "deeper.json"
    deeper.write_text(json.dumps(NATIVE_SETTINGS | {"dec_layers": 2}), encoding="utf-8")
    with pytest.raises(ServiceDown, match="missing, none left over; are these the weights of this architecture"):
        propose((NativeGroundingDino, native.model_copy(update={"architecture": str(deeper)})))


@models
def test_a_folder_without_a_text_encoder(native: DinoConfig, tmp_path: Path) -> None:
    with pytest.raises(ServiceDown, match="cannot load"):
        propose((NativeGroundingDino, native.model_copy(update={"text_encoder": str(tmp_path)})))


# --- transformers ----------------------------------------------------------------------------


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@models
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: truncated(folder / "model.safetensors"), "is the download complete"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot load"),
        (lambda folder: (folder / "config.json").unlink(), "cannot load"),
        (lambda folder: edit_json(folder / "config.json", decoder_layers=2), "missing, none left over"),
        (lambda folder: edit_json(folder / "config.json", encoder_ffn_dim=32), "cannot load"),
        (lambda folder: edit_json(folder / "config.json", model_type="bert"), "is a bert model, not grounding-dino"),
    ],
    ids=["truncated", "no weights", "no config", "deeper", "narrower", "another kind"],
)
def test_a_broken_folder_is_a_service_down(
    port: DinoConfig, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    assert port.checkpoint
    folder = tmp_path / "tiny"
    folder.mkdir()
    for file in Path(port.checkpoint).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damage(folder)
    with pytest.raises(ServiceDown, match=said):
        propose((PortedGroundingDino, port.model_copy(update={"checkpoint": str(folder)})))


# --- The hub, and no libraries ---------------------------------------------------------------


PROPOSE = """
import numpy as np
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino.native import NativeGroundingDino
from tasks.backends.grounding_dino.port import PortedGroundingDino
from tasks.backends.torch_runtime import TorchConfig
from tests.support.builders import make_instance
for detector_class, config in {detectors}:
    detector = detector_class(DinoConfig.model_validate_json(config), TorchConfig())
    assert detector.propose(np.zeros((1, 90, 90, 3), np.uint8), [make_instance("id1")])["id1"]
"""


@models
def test_weights_of_the_hub_without_a_word(native: DinoConfig, port: DinoConfig, tmp_path: Path) -> None:
    assert port.checkpoint
    from_hub = {
        "NativeGroundingDino": native.model_copy(update={"text_encoder": "owner/bert", "box_threshold": 0}),
        "PortedGroundingDino": port.model_copy(update={"checkpoint": "owner/dino", "box_threshold": 0}),
    }
    detectors = ", ".join(f"({name}, {config.model_dump_json()!r})" for name, config in from_hub.items())
    with served({"owner/bert": Path(native.text_encoder), "owner/dino": Path(port.checkpoint)}) as endpoint:
        done = fetch(endpoint, tmp_path, PROPOSE.format(detectors=f"[{detectors}]"))
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "%|" not in line] == []  # but for the download's progress


@models
@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("native", {"checkpoint": None, "architecture": "swin_t"}),
        ("native", {"text_encoder": "google-bert/bert-base-uncased"}),
        ("port", {"checkpoint": None}),
    ],
)
@pytest.mark.usefixtures("unloaded")
def test_weights_that_are_only_on_a_hub_that_is_offline(
    which: str, change: dict[str, Any], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    detector_class = NativeGroundingDino if which == "native" else PortedGroundingDino
    with pytest.raises(ServiceDown, match="is the hub reachable and the name right"):
        propose((detector_class, request.getfixturevalue(which).model_copy(update=change)))


@pytest.mark.parametrize("detector", ["native.NativeGroundingDino", "port.PortedGroundingDino"])
def test_without_torch_it_says_what_to_install(detector: str) -> None:
    module, name = detector.split(".")
    code = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None  # importing them now fails as if they were not there
import numpy as np
from schemas.outcome import ServiceDown
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino.{module} import {name}
from tasks.backends.torch_runtime import TorchConfig
from tests.support.builders import make_instance
try:
    {name}(DinoConfig(), TorchConfig()).propose(np.zeros((1, 9, 9, 3), np.uint8), [make_instance("id1")])
except ServiceDown as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "is not installed: pip install -c constraints.txt -e '.[models]'" in done.stdout
