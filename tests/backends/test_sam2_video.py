"""SAM2 by both libraries, on tiny networks that were saved and loaded like anyone's checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.candidate import Anchor, Box
from schemas.mask_track import decode_masks
from schemas.outcome import ServiceDown
from tasks.backends import torch_runtime
from tasks.backends.sam2_video import Sam2Config, native, port, walk
from tasks.backends.sam2_video.native import NativeSam2
from tasks.backends.sam2_video.port import PortedSam2
from tasks.backends.sam2_video.walk import Contest
from tasks.backends.torch_runtime import TorchConfig
from tasks.check_tracks import CheckConfig, measure
from tasks.propagate_masks import PropagateConfig, load_backend, propagate_masks
from tests.support.tiny_sam2 import SIDE, save_native, save_ported, tiny_sam2

pytestmark = pytest.mark.models

LIBRARIES = ("sam2", "transformers")
CPU = TorchConfig(device="cpu")
HEIGHT, WIDTH = 48, 80


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return request.param


def clip(n_frames: int) -> np.ndarray:
    """(N, 48, 80, 3): coarse noise, different in every frame."""
    return np.random.default_rng(n_frames).integers(0, 256, (n_frames, 6, 10, 3), np.uint8).repeat(8, 1).repeat(8, 2)


def anchor(instance_id: str, frame: int, box: Box = (10, 10, 40, 36)) -> Anchor:
    return Anchor(instance_id=instance_id, frame=frame, box_xyxy=box)


def masks(counts: list[str]) -> np.ndarray:
    return decode_masks(counts, HEIGHT, WIDTH)


THREE = [anchor("man", 6), anchor("ball", 2, (50, 20, 70, 40)), anchor("dog", 6, (0, 0, 30, 30))]


# --- Masks -----------------------------------------------------------------------------------


def pictures(frames: np.ndarray) -> Any:
    """(N, 3, side, side): all frames as the networks get them."""
    import torch

    shown = native.DeviceClip(list(frames), frames.shape[1:3], torch.device("cpu"), offload=False)
    return torch.stack([shown.picture(t, SIDE) for t in range(len(frames))])


def test_one_instance_has_the_masks_of_the_packages_own_predictor(checkpoints, monkeypatch):
    """sam2's SAM2VideoPredictor, forward and then in reverse."""
    import torch
    from hydra.utils import instantiate

    frames, prompt = clip(12), anchor("man", 5)
    ours = masks(tiny_sam2("sam2", checkpoints, precision="float32").propagate(frames, [prompt])["man"])
    settings = native.network_settings(str(checkpoints / "tiny.yaml"))
    settings["_target_"] = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    predictor = instantiate(settings).eval()
    predictor.load_state_dict(native.read_weights(checkpoints / "tiny.pt"))
    loaded = (pictures(frames), HEIGHT, WIDTH)
    monkeypatch.setattr("sam2.sam2_video_predictor.load_video_frames", lambda **_: loaded)
    theirs = np.zeros((12, HEIGHT, WIDTH), bool)
    with torch.inference_mode():
        state = predictor.init_state("clip")
        predictor.add_new_points_or_box(state, prompt.frame, 1, box=np.array(prompt.box_xyxy))
        for reverse in (False, True):
            for t, _, found in predictor.propagate_in_video(state, reverse=reverse):
                theirs[t] = (found[0, 0] > 0).numpy()
    assert 0.05 < theirs.mean() < 0.95
    assert np.array_equal(ours, theirs)


def test_one_instance_has_the_masks_of_the_ports_own_iterator(checkpoints):
    """transformers' Sam2VideoModel given all frames at once, forward and then in reverse."""
    torch_runtime.import_torchvision()
    import torch
    from transformers import Sam2VideoModel
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    frames, prompt = clip(12), anchor("man", 5)
    ours = masks(tiny_sam2("transformers", checkpoints, precision="float32").propagate(frames, [prompt])["man"])
    model = Sam2VideoModel.from_pretrained(checkpoints / "tiny").eval()
    session = Sam2VideoInferenceSession(pictures(frames), video_height=HEIGHT, video_width=WIDTH, dtype=torch.float32)
    with_box(session, prompt)
    theirs = np.zeros((12, HEIGHT, WIDTH), bool)
    for reverse in (False, True):
        for seen in model.propagate_in_video_iterator(session, start_frame_idx=prompt.frame, reverse=reverse):
            found = torch.nn.functional.interpolate(seen.pred_masks, (HEIGHT, WIDTH), mode="bilinear")
            theirs[seen.frame_idx] = (found[0, 0] > 0).numpy()
    assert 0.05 < theirs.mean() < 0.95
    assert np.array_equal(ours, theirs)


def with_box(session: Any, prompt: Anchor) -> None:
    """Enter the box as the port's own processor does."""
    from transformers import Sam2ImageProcessorFast, Sam2VideoProcessor, Sam2VideoVideoProcessor

    size = {"height": SIDE, "width": SIDE}
    processor = Sam2VideoProcessor(Sam2ImageProcessorFast(size=size), Sam2VideoVideoProcessor(size=size))
    processor.add_inputs_to_inference_session(
        session, frame_idx=prompt.frame, obj_ids=[0], input_boxes=[[list(prompt.box_xyxy)]]
    )


@pytest.mark.parametrize("shape", [(48, 80), (97, 131), (480, 720)])
def test_frames_are_resized_as_pillow_does(shape):
    import torch
    from PIL import Image

    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    picture = native.DeviceClip([frame], shape, torch.device("cpu"), offload=False).picture(0, SIDE).numpy()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    levels = (picture.transpose(1, 2, 0) * std + mean) * 255
    pillows = np.asarray(Image.fromarray(frame).resize((SIDE, SIDE)), float)
    assert np.abs(levels - pillows).max() < 1.01


def test_together_as_alone_but_for_contested_pixels(library, checkpoints):
    """An instance loses pixels to others and nothing else."""
    propagator = tiny_sam2(library, checkpoints, precision="float32")
    frames = clip(10)
    alone = {a.instance_id: masks(propagator.propagate(frames, [a])[a.instance_id]) for a in THREE}
    together = {i: masks(counts) for i, counts in propagator.propagate(frames, THREE).items()}
    assert list(together) == ["man", "ball", "dog"]
    assert np.sum(list(together.values()), axis=0).max() == 1
    # Sums of a batch are rounded otherwise, and so are logits that wait for the way back: a pixel here and there.
    union_alone = np.any(list(alone.values()), axis=0)
    union_together = np.any(list(together.values()), axis=0)
    assert (union_alone != union_together).mean() < 1e-3
    for i in alone:
        assert (together[i] & ~alone[i]).mean() < 1e-3
        assert together[i].any()


@pytest.mark.parametrize("frame", [0, 5, 9])
def test_masks_reach_both_ends_of_the_clip(library, checkpoints, frame):
    found = masks(tiny_sam2(library, checkpoints).propagate(clip(10), [anchor("man", frame)])["man"])
    assert found.any(axis=(1, 2)).all()
    assert len({mask.tobytes() for mask in found}) == 10


@pytest.mark.parametrize("settings", [{"offload_video": True}, {"offload_state": True}])
def test_offloading_changes_no_mask(library, checkpoints, settings):
    frames = clip(8)
    plain = tiny_sam2(library, checkpoints).propagate(frames, THREE)
    assert tiny_sam2(library, checkpoints, **settings).propagate(frames, THREE) == plain


def test_read_only_frames(library, checkpoints):
    frames = clip(2)
    frames.setflags(write=False)
    assert len(tiny_sam2(library, checkpoints).propagate(frames, [anchor("man", 0)])["man"]) == 2


def test_it_says_nothing(library, checkpoints, capfd):
    tiny_sam2(library, checkpoints).propagate(clip(3), THREE[1:2])
    assert capfd.readouterr() == ("", "")


# --- What it costs ---------------------------------------------------------------------------


def count_encodings(propagator: Any, frames: np.ndarray, anchors: list[Anchor]) -> int:
    """Image-encoder calls of one clip."""
    propagator.propagate(frames, anchors)  # loads the network
    key = (propagator.backend, propagator._network_identity(), "cpu")
    network = torch_runtime._loaded[key]
    encoder = network.image_encoder if propagator.backend == "sam2" else network.vision_encoder
    calls: list[int] = []
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        propagator.propagate(frames, anchors)
    finally:
        hook.remove()
    return len(calls)


def test_a_frame_is_encoded_once_if_the_anchors_share_a_frame(library, checkpoints):
    anchors = [anchor(i, 4) for i in ("man", "ball", "dog")]
    assert count_encodings(tiny_sam2(library, checkpoints), clip(10), anchors) == 10


def test_a_frame_is_encoded_at_most_once_a_direction(library, checkpoints):
    anchors = [anchor("man", 2), anchor("ball", 5), anchor("dog", 7), anchor("cup", 5)]
    forward, backward = 10 - 2, 7
    assert count_encodings(tiny_sam2(library, checkpoints), clip(10), anchors) == forward + backward


@pytest.fixture
def banks(monkeypatch) -> dict[int, dict[int, Any]]:
    """Every memory bank met, by its identity."""
    met: dict[int, dict[int, Any]] = {}

    def watched(bank: dict[int, Any], t: int, anchor_frame: int, reach: int) -> None:
        forget(bank, t, anchor_frame, reach)
        met[id(bank)] = bank
        assert len(bank) <= 3 * reach

    forget = native.forget
    monkeypatch.setattr(native, "forget", watched)
    monkeypatch.setattr(port, "forget", watched)
    return met


def test_what_is_forgotten_is_not_missed(library, checkpoints, banks, monkeypatch):
    propagator = tiny_sam2(library, checkpoints)
    frames = clip(40)
    forgetful = propagator.propagate(frames, [anchor("man", 12)])
    (bank,) = banks.values()
    assert 0 < len(bank) < 40 / 3
    for module in (native, port):
        monkeypatch.setattr(module, "forget", lambda *_: None)
    assert propagator.propagate(frames, [anchor("man", 12)]) == forgetful


def test_half_of_it_would_be_missed(library, checkpoints, monkeypatch):
    propagator = tiny_sam2(library, checkpoints, precision="float32")
    frames = clip(20)
    whole = propagator.propagate(frames, [anchor("man", 6)])
    forget = native.forget
    for module in (native, port):
        monkeypatch.setattr(module, "forget", lambda bank, t, a, reach: forget(bank, t, a, reach // 2))
    assert propagator.propagate(frames, [anchor("man", 6)]) != whole


def test_a_network_is_loaded_once_a_process(library, tmp_path):
    save = {"sam2": save_native, "transformers": lambda folder, seed: save_ported(folder / "tiny", seed=seed)}[library]
    save(tmp_path, seed=11)
    first, second = tiny_sam2(library, tmp_path), tiny_sam2(library, tmp_path)
    expected = first.propagate(clip(2), [anchor("man", 0)])
    for file in tmp_path.rglob("*.*"):
        file.unlink()
    assert second.propagate(clip(2), [anchor("man", 0)]) == expected


def test_a_clip_is_encoded_while_the_next_is_in_the_network(library, checkpoints, monkeypatch):
    """The first clip's masks wait for the second's first frame."""
    propagator = tiny_sam2(library, checkpoints)
    frames = {"first": clip(3), "second": clip(4)}
    expected = {name: propagator.propagate(frames[name], THREE[1:2]) for name in frames}
    second_is_in = threading.Event()
    enter, encode = Contest.enter, walk.encode_mask

    def watched_enter(contest: Contest, t: int, logits: Any) -> None:
        if len(contest._counts["ball"]) == 4:
            second_is_in.set()
        enter(contest, t, logits)

    def watched_encode(mask: np.ndarray) -> str:
        if threading.current_thread().name.startswith("encode"):
            assert second_is_in.wait(timeout=20)
        return encode(mask)

    monkeypatch.setattr(Contest, "enter", watched_enter)
    monkeypatch.setattr(walk, "encode_mask", watched_encode)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(propagator.propagate, frames["first"], THREE[1:2])
        second = pool.submit(propagator.propagate, frames["second"], THREE[1:2])
        assert (first.result(), second.result()) == (expected["first"], expected["second"])


def test_an_error_of_the_encoder_is_the_clips(library, checkpoints, monkeypatch):
    propagator = tiny_sam2(library, checkpoints)

    def fail(mask: np.ndarray) -> str:
        if threading.current_thread().name.startswith("encode"):
            raise MemoryError("no room for a mask")
        return ""

    with monkeypatch.context() as broken:
        broken.setattr(walk, "encode_mask", fail)
        with pytest.raises(MemoryError, match="no room for a mask"):
            propagator.propagate(clip(40), THREE)
    assert propagator.propagate(clip(2), [anchor("man", 0)])["man"], "the device is free again"


def test_the_same_masks_whatever_the_look_ahead(library, checkpoints):
    """Clips that come side by side, on two threads or five, as one after the other."""
    rows = [(clip(n), [anchor("man", n // 2), anchor("ball", 0, (50, 20, 70, 40))]) for n in (3, 6, 2, 5, 4)]
    made = []
    for look_ahead in (0, 2):
        propagator = tiny_sam2(library, checkpoints, look_ahead=look_ahead)
        with ThreadPoolExecutor(propagator.concurrency) as pool:
            made.append(list(pool.map(lambda row, p=propagator: p.propagate(*row), rows)))
    assert made[0] == made[1]


# --- Who gets a pixel ------------------------------------------------------------------------


def logits(*values: float) -> Any:
    """(1, n) logits."""
    import torch

    return torch.tensor([values])


@pytest.fixture
def encoder() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as encoder:
        yield encoder


def test_a_contested_pixel_goes_to_the_highest_logit(encoder):
    contest = Contest([anchor("a", 0), anchor("b", 0)], 1, 1, 4, encoder)
    contest.enter(0, {"a": logits(5, 1, -1, 2), "b": logits(3, 2, -2, 2)})
    assert decode_masks(contest.counts()["a"], 1, 4)[0].tolist() == [[True, False, False, True]]
    assert decode_masks(contest.counts()["b"], 1, 4)[0].tolist() == [[False, True, False, False]]


def test_a_frame_waits_for_those_that_reach_it_on_the_way_back(encoder):
    contest = Contest([anchor("a", 0), anchor("b", 1)], 2, 1, 2, encoder)
    contest.enter(0, {"a": logits(5, 1)})
    contest.enter(1, {"a": logits(1, 1), "b": logits(1, 9)})
    contest.enter(0, {"b": logits(3, 2)})
    assert decode_masks(contest.counts()["a"], 1, 2).tolist() == [[[True, False]], [[True, False]]]
    assert decode_masks(contest.counts()["b"], 1, 2).tolist() == [[[False, True]], [[False, True]]]


def test_an_instance_without_a_mask_on_its_anchor_gets_none(caplog, encoder):
    """And takes nothing from the others."""
    contest = Contest([anchor("a", 0), anchor("b", 0)], 2, 1, 2, encoder)
    contest.enter(0, {"a": logits(-1, -3), "b": logits(1, -1)})
    contest.enter(1, {"a": logits(9, 9), "b": logits(1, 1)})
    assert not decode_masks(contest.counts()["a"], 1, 2).any()
    assert decode_masks(contest.counts()["b"], 1, 2).tolist() == [[[True, False]], [[True, True]]]
    assert "a: its box on frame 0 holds no mask" in caplog.text


def test_check_tracks_refuses_an_instance_without_masks(library, tmp_path, monkeypatch):
    """A network that sees nothing anywhere: the row lives on, its tracks do not."""
    import torch

    propagator = tiny_sam2(library, tmp_path, precision="float32")
    monkeypatch.setattr(
        {"sam2": native.NativeTracker, "transformers": port.PortedTracker}[library],
        "logits",
        lambda self, t, *, reverse: torch.full((1, 16, 16), -1024.0),
    )
    tracks = propagate_masks(clip(3), [anchor("man", 1)], propagator)
    failed = {check.measure for check in measure(tracks.tracks[0], CheckConfig()) if not check.passed}
    assert "presence" in failed


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_config_chooses_it(name):
    backend = load_backend(PropagateConfig(masks=name), Sam2Config(), CPU)
    assert backend.identity["backend"] == name


# --- Checkpoints -----------------------------------------------------------------------------


def test_the_default_weights_are_those_of_the_architecture():
    large, tiny = NativeSam2(Sam2Config(), CPU), NativeSam2(Sam2Config(architecture="hiera_t"), CPU)
    assert large.identity["model"] == PortedSam2(Sam2Config(), CPU).identity["model"]
    assert large.identity["model"] == "facebook/sam2.1-hiera-large@main"
    assert tiny.identity["model"] == "facebook/sam2.1-hiera-tiny@main"


@pytest.mark.parametrize("name", ["hiera_t", "hiera_s", "hiera_b+", "hiera_l"])
def test_every_architecture_is_in_the_package(name):
    native.import_sam2()
    assert native.network_settings(name)["image_size"] == 1024
    assert name in native.PUBLISHED


def test_other_weights_settings_or_precision_are_another_identity(library, tmp_path):
    def identity(**settings: Any) -> str:
        return json.dumps(tiny_sam2(library, tmp_path, **settings).identity, sort_keys=True)

    first = identity()
    assert identity() == first
    assert identity(precision="float32") != first
    assert identity(offload_state=True, offload_video=True) == first
    if library == "sam2":
        (tmp_path / "other.yaml").write_text((tmp_path / "tiny.yaml").read_text() + "\n")
        assert identity(architecture=str(tmp_path / "other.yaml")) != first
    weights = next(f for f in sorted(tmp_path.rglob("*")) if f.suffix in (".pt", ".safetensors"))
    weights.write_bytes(weights.read_bytes() + b"\n")
    assert identity() != first


def damaged_native(folder: Path, damage: str) -> dict[str, str]:
    """A config whose checkpoint or architecture cannot be used."""
    import torch

    architecture, checkpoint = save_native(folder)
    weights, text = checkpoint.read_bytes(), architecture.read_text()
    match damage:
        case "missing":
            checkpoint.unlink()
        case "truncated":
            checkpoint.write_bytes(weights[: len(weights) // 2])
        case "empty":
            checkpoint.write_bytes(b"")
        case "not the authors' form":
            torch.save({"state_dict": {}}, checkpoint)
        case "code":
            torch.save({"model": Path}, checkpoint)
        case "another width":
            architecture.write_text(text.replace("dim_feedforward: 64", "dim_feedforward: 128"))
        case "another depth":
            architecture.write_text(text.replace("num_layers: 1", "num_layers: 2"))
        case "foreign class":
            architecture.write_text(text.replace("sam2.modeling.memory_encoder.Fuser", "subprocess.Popen"))
        case "no YAML":
            architecture.write_text("model: [")
    return {"architecture": str(architecture), "checkpoint": str(checkpoint)}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("missing", "no checkpoint at"),
        ("truncated", "is the download complete"),
        ("empty", "is the download complete"),
        ("not the authors' form", 'it holds no "model"'),
        ("code", "cannot load tiny.pt"),
        ("another width", "size mismatch"),
        ("another depth", "missing"),
        ("foreign class", "names subprocess.Popen"),
        ("no YAML", "cannot load tiny.pt"),
    ],
)
def test_native_weights_that_cannot_be_used(tmp_path, damage, told):
    with pytest.raises(ServiceDown, match=told):
        NativeSam2(Sam2Config(**damaged_native(tmp_path, damage)), CPU).propagate(clip(1), [anchor("man", 0)])


def damaged_ported(folder: Path, damage: str) -> None:
    from safetensors.torch import load_file, save_file

    save_ported(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    match damage:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-1000])
        case "no weights":
            weights.unlink()
        case "no config":
            config.unlink()
        case "another model":
            config.write_text('{"model_type": "bert"}')
        case "weights missing":
            held = load_file(weights)
            held.pop("memory_encoder.projection.weight")
            save_file(held, weights, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("truncated", "is the download complete"),
        ("no weights", "model.safetensors"),
        ("no config", "cannot load tiny"),
        ("another model", "config.json is for bert"),
        ("weights missing", "memory_encoder.projection.weight"),
    ],
)
def test_ported_weights_that_cannot_be_used(tmp_path, damage, told):
    damaged_ported(tmp_path / "tiny", damage)
    with pytest.raises(ServiceDown, match=told):
        tiny_sam2("transformers", tmp_path).propagate(clip(1), [anchor("man", 0)])


def test_a_hub_that_cannot_be_reached(library, monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    backend = {"sam2": NativeSam2, "transformers": PortedSam2}[library]
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    with pytest.raises(ServiceDown, match="is the hub reachable"):
        backend(Sam2Config(architecture="hiera_t"), CPU).propagate(clip(1), [anchor("man", 0)])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"architecture": "hiera_xl"}, r"set sam2\.checkpoint .* hiera_t, hiera_s"),
        (
            {"architecture": "hiera_xl", "checkpoint": "tiny.pt"},
            "unknown architecture hiera_xl; set sam2.architecture to hiera_t",
        ),
        ({"architecture": "tiny.yaml"}, r"set sam2\.checkpoint"),
        (
            {"architecture": "tiny.yaml", "checkpoint": "owner/name"},
            "owner/name@main: unknown which file holds the weights of",
        ),
        ({"checkpoint": "./none.pt"}, "no checkpoint at"),
    ],
)
def test_settings_that_lead_nowhere_are_told_at_once(checkpoints, monkeypatch, settings, told):
    tiny_sam2("sam2", checkpoints)
    monkeypatch.chdir(checkpoints)
    with pytest.raises(ServiceDown, match=told):
        NativeSam2(Sam2Config(**settings), CPU)


def test_a_library_that_is_not_installed(tmp_path, monkeypatch):
    def import_nothing() -> None:
        raise ModuleNotFoundError("No module named 'hydra'", name="hydra")

    save_native(tmp_path, seed=12)
    propagator = tiny_sam2("sam2", tmp_path)
    monkeypatch.setattr(native, "import_sam2", import_nothing)
    with pytest.raises(ServiceDown, match="hydra is not installed: pip install"):
        propagator.propagate(clip(1), [anchor("man", 0)])


# --- The process it runs in ------------------------------------------------------------------

FRESH = """
import sys, threading
from pathlib import Path
from tests.backends.test_sam2_video import THREE, clip
from tests.support.tiny_sam2 import tiny_sam2

propagators = [tiny_sam2(library, Path(sys.argv[1]), precision="float32") for library in ("sam2", "transformers")]
assert "torch" not in sys.modules, "identity needs no torch"
for propagator in propagators:
    results = []
    thread = threading.Thread(target=lambda: results.append(propagator.propagate(clip(4), THREE[1:2])))
    thread.start()
    thread.join()
    assert results == [propagator.propagate(clip(4), THREE[1:2])], propagator.backend
    print(results[0]["ball"])
from hydra.core.global_hydra import GlobalHydra
assert not GlobalHydra.instance().is_initialized(), "hydra's state is the user's"
"""


def test_a_fresh_process_gives_the_same_bytes_and_keeps_hydras_state(checkpoints):
    here = [
        tiny_sam2(library, checkpoints, precision="float32").propagate(clip(4), THREE[1:2])["ball"]
        for library in LIBRARIES
    ]
    command = [sys.executable, "-c", FRESH, str(checkpoints)]
    fresh = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.splitlines() == [str(counts) for counts in here]
