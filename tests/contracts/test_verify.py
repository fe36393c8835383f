"""What every verifier owes its stage, whatever it sees."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from schemas.candidate import Box
from schemas.outcome import RowFailed
from tasks.backends.agreement import AgreementVerifier
from tasks.backends.chat.asking import schema_of
from tasks.backends.chat.verifier import ChatVerifier, VerifyReply
from tasks.backends.colour import AttributeVerifier
from tasks.backends.local_models import LocalConfig
from tasks.backends.local_models.chat import LocalChat
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.backends.torch_runtime import TorchConfig
from tasks.backends.unverified import Unverified
from tasks.ground_instances import Verifier
from tests.support.builders import make_instance
from tests.support.endpoint import LocalEndpoint, sample
from tests.support.flow_runs import point_at

CAPTION = "A boy kicks a red ball."
BALL = make_instance("id2", "ball")


@pytest.fixture(
    params=[
        pytest.param("packaged", marks=pytest.mark.slow),
        "rules",
        "openai",
        "none",
        pytest.param("transformers", marks=pytest.mark.models),
    ]
)
def verifier(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verifier]:
    if request.param == "packaged":
        yield AgreementVerifier()
        return
    if request.param == "rules":
        yield AttributeVerifier()
        return
    if request.param == "none":
        yield Unverified()
        return
    if request.param == "transformers":
        from tests.support import tiny_chat

        tiny_chat.say(monkeypatch, lambda request: sample(schema_of(VerifyReply), request))
        local = LocalConfig(vlm=str(tiny_chat.save_vlm(tmp_path / "vlm")))
        yield ChatVerifier(LocalChat("VLM", local, TorchConfig(device="cpu"), tmp_path))
        return
    with LocalEndpoint() as server:  # sampled replies under the request's schema
        point_at(server, monkeypatch)
        yield ChatVerifier(ChatClient(Endpoint.from_env("VLM"), EndpointConfig(), tmp_path))


def frame(height: int, width: int) -> np.ndarray:
    """(H, W, 3): a red square in the middle of noise."""
    picture = np.random.default_rng(0).integers(90, 120, (height, width, 3), dtype=np.uint8)
    picture[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = (214, 34, 38)
    return picture


def middle(height: int, width: int) -> Box:
    return (float(width // 3), float(height // 3), float(2 * width // 3), float(2 * height // 3))


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (48, 400), (1200, 90), (9, 9)])
def test_an_answer_is_whole_and_in_range(verifier: Verifier, size: tuple[int, int]) -> None:
    answer = verifier.verify(frame(*size), middle(*size), BALL, CAPTION)
    assert isinstance(answer.match, bool)
    assert 0 <= answer.confidence <= 1
    assert isinstance(answer.rationale, str)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (63, 63, 64, 64), (-20, -20, 30, 30), (10.2, 10.7, 11.1, 11.3)])
def test_a_box_of_a_pixel_or_beyond_the_edge_is_a_box(verifier: Verifier, box: Box) -> None:
    assert 0 <= verifier.verify(frame(64, 64), box, BALL, CAPTION).confidence <= 1


def test_a_box_without_a_pixel_is_never_a_yes(verifier: Verifier) -> None:
    try:
        answer = verifier.verify(frame(64, 64), (70, 10, 90, 30), BALL, CAPTION)
    except RowFailed as failure:
        assert not failure.retryable  # noqa: PT017 - a refusal is as good as a no
    else:
        assert not answer.match


def test_the_same_in_any_thread_and_the_frame_is_left_alone(verifier: Verifier) -> None:
    picture = frame(96, 128)
    before = picture.copy()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: verifier.verify(picture, middle(96, 128), BALL, CAPTION), range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert np.array_equal(picture, before)


def test_it_says_what_it_is(verifier: Verifier) -> None:
    assert verifier.identity["backend"] in ("packaged", "rules", "openai", "none", "transformers")
    assert verifier.identity["model"]
    assert all(isinstance(value, str) for value in verifier.identity.values())
    assert verifier.concurrency >= 1
