"""What every captioner owes its stage, whatever it sees."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas.outcome import RowFailed, ServiceDown
from tasks.backends.event_captions import EventCaptions
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.openai.scene_captions import MAX_CAPTION_CHARACTERS, OpenAISceneCaptions, frames_end_to_end
from tasks.caption_clips import CaptionConfig, Captioner, caption_clip, load_backend
from tasks.media.encoding import encode_video
from tasks.prompts import load_prompt
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import point_at
from tests.support.scene_clips import FPS, N_FRAMES, SceneClip, clip_of, make_collision, simulated, story
from tests.support.scenes import make_body

QUICK = EndpointConfig(deadline_s=10, backoff_s=0.01, max_retry_after_s=0.1, max_retries=1)
DESCRIPTION = "On a tiled floor, there are a red cube and a blue cylinder. The red cube  moves right.\nIt stops. "


def filmed() -> SceneClip:
    """A red cube hits a blue cylinder; frame f of its video is grey, 5 f bright."""
    frames = np.stack([np.full((48, 64, 3), 5 * f, np.uint8) for f in range(N_FRAMES)])
    clip = story(
        (make_body("id1", position=(-0.9, 0.0, 0.25)), [(0.8, (1.0, 0.0, 0.0))]),
        (make_body("id2", "cylinder", colour="blue", position=(0.5, 0.0, 0.25)), []),
        collisions=[make_collision(0.8, "id1", "id2")],
    )
    return clip_of(clip.simulation, encode_video(frames, FPS, crf=4))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEndpoint]:
    with LocalEndpoint(answers=lambda request: {"description": DESCRIPTION}) as server:
        point_at(server, monkeypatch)
        yield server


@pytest.fixture(params=["events", "openai"])
def captioner(request: pytest.FixtureRequest, server: LocalEndpoint, tmp_path: Path) -> Captioner:
    return load_backend(CaptionConfig(captioner=request.param), QUICK, tmp_path)


# --- Every captioner -----------------------------------------------------------------------------


def test_a_caption_is_a_line_of_prose(captioner: Captioner) -> None:
    caption = captioner.caption(*filmed())
    assert caption
    assert caption == " ".join(caption.split())
    assert caption.endswith(".")
    assert "red cube" in caption


def test_the_same_in_any_thread_and_what_it_got_is_left_alone(captioner: Captioner) -> None:
    clip, again = filmed(), filmed()
    with ThreadPoolExecutor(4) as pool:
        captions = list(pool.map(lambda _: captioner.caption(*clip), range(4)))
    assert len(set(captions)) == 1
    assert clip == again


def test_it_says_what_it_is(captioner: Captioner) -> None:
    assert captioner.identity["backend"] in ("events", "openai")
    assert captioner.identity["model"]
    assert all(isinstance(value, str) for value in captioner.identity.values())
    assert captioner.concurrency >= 1
    assert isinstance(captioner.watches_video, bool)


def test_a_captioner_that_does_not_watch_the_video_does_not_need_it(captioner: Captioner) -> None:
    clip = filmed()
    cut = clip.rendered.model_copy(update={"video": clip.rendered.video[:200]})
    if captioner.watches_video:
        with pytest.raises(RowFailed) as failed:
            captioner.caption(clip.simulation, cut)
        assert not failed.value.retryable
    else:
        assert captioner.caption(clip.simulation, cut) == captioner.caption(*clip)


def test_events_say_the_same_in_another_process() -> None:
    program = (
        "import sys; from tests.support.scene_clips import simulated;"
        "from tasks.backends.event_captions import EventCaptions;"
        "sys.stdout.write('\\n' + EventCaptions().caption(*simulated('interactions', 'train', 0)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == EventCaptions().caption(*simulated("interactions", "train", 0))


# --- The VLM -------------------------------------------------------------------------------------


def asked(server: LocalEndpoint) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The text and the pictures of the one question that was asked."""
    (request,) = server.requests
    text, *pictures = request["messages"][1]["content"]
    jpegs = [base64.b64decode(picture["image_url"]["url"].partition(",")[2]) for picture in pictures]
    decoded = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs]
    assert all(picture is not None and picture.shape == (48, 64, 3) for picture in decoded)
    return json.loads(text["text"]), [np.asarray(picture) for picture in decoded]


def test_a_vlm_sees_frames_from_first_to_last_in_order_and_is_told_nothing_else(
    server: LocalEndpoint, tmp_path: Path
) -> None:
    OpenAISceneCaptions(QUICK, tmp_path, n_frames=5).caption(*filmed())
    text, pictures = asked(server)
    assert text == {"times_s": [0.0, 0.5, 1.0, 1.5, 2.0]}
    assert [round(picture.mean() / 5) for picture in pictures] == [0, 12, 24, 36, 48]
    assert server.requests[0]["messages"][0]["content"] == load_prompt("caption_scene").text


@pytest.mark.parametrize(
    ("n_frames", "n", "places"),
    [(49, 4, [0, 16, 32, 48]), (49, 2, [0, 48]), (3, 8, [0, 1, 2]), (8, 8, list(range(8))), (1, 2, [0])],
)
def test_frames_are_spread_from_the_first_to_the_last(n_frames: int, n: int, places: list[int]) -> None:
    assert frames_end_to_end(n_frames, n) == places


def test_a_vlms_caption_is_kept_word_for_word_and_read_for_faults(server: LocalEndpoint, tmp_path: Path) -> None:
    server.answers = lambda request: {"description": "The blue cylinder leaves the frame."}
    clip = filmed()
    captioned = caption_clip(*clip, OpenAISceneCaptions(QUICK, tmp_path, 8), CaptionConfig(captioner="openai"), [])
    assert captioned.caption == "The blue cylinder leaves the frame."
    assert captioned.faults == ["says that id2 (blue cylinder) leaves the frame, and it does not"]


def test_the_same_clip_is_asked_once_and_another_number_of_frames_is_another_question(
    server: LocalEndpoint, tmp_path: Path
) -> None:
    first, second, other = (OpenAISceneCaptions(QUICK, tmp_path, n) for n in (8, 8, 4))
    for captioner in (first, second, other):
        captioner.caption(*filmed())
    assert server.calls == 2
    assert first.identity == second.identity != other.identity


@pytest.mark.parametrize("description", ["", " \n", "x" * (MAX_CAPTION_CHARACTERS + 1)])
def test_no_words_and_too_many_are_no_caption(server: LocalEndpoint, tmp_path: Path, description: str) -> None:
    server.answers = lambda request: {"description": description}
    with pytest.raises(RowFailed, match="invalid_reply"):
        OpenAISceneCaptions(QUICK, tmp_path, 2).caption(*filmed())


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [
        ("500", RowFailed, "server_error"),
        ("not_json", RowFailed, "invalid_reply"),
        ("refusal", RowFailed, "refused"),
        ("empty_choices", RowFailed, "invalid_response"),
        ("401", ServiceDown, "TRIPTYCH_VLM_API_KEY"),
    ],
)
def test_a_fault_is_never_a_caption(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str, error: type[Exception], reason: str
) -> None:
    with LocalEndpoint(always=fault) as server:
        point_at(server, monkeypatch)
        with pytest.raises(error, match=reason):
            OpenAISceneCaptions(QUICK, tmp_path, 2).caption(*filmed())


def test_without_a_vlm_it_says_what_to_export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRIPTYCH_VLM_BASE_URL", raising=False)
    with pytest.raises(ServiceDown, match="export TRIPTYCH_VLM_BASE_URL"):
        load_backend(CaptionConfig(captioner="openai"), QUICK, tmp_path)


def test_the_prompt_names_what_it_is_given() -> None:
    assert "`times_s`" in load_prompt("caption_scene").text
