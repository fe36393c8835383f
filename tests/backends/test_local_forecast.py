"""tasks.backends.local_models: which files of a hub are needed, and what is told before they are downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.backends.local_models import DINO, LLM, SAM2, VLM
from tasks.backends.local_models.files import in_order, is_needed
from tasks.backends.local_models.forecast import CPU_S, GPU_S, PUBLISHED, WORK_BYTES, Use, forecast
from tasks.backends.torch_runtime import Checkpoint
from tests.support.hub import fetch, served

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
SMALL = ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors.index.json"]
OTHERS = ["README.md", "pytorch_model.bin", "original.safetensors", ".gitattributes"]

CODE = """
import json, time
time.sleep = lambda s: None  # the pauses between tries
from schemas.outcome import ServiceDown
from tasks.backends.local_models.files import local_folder
from tasks.backends.local_models.forecast import Use, forecast
from tasks.backends.torch_runtime import Checkpoint, loading

def load(checkpoint):
    with loading(checkpoint):
        return sorted(path.name for path in local_folder(checkpoint).iterdir())

def tell(checkpoint):
    return list(forecast([Use("reads captions", checkpoint, "language_model", 2)], "cpu", 1, 24_000_000_000))

answers = []
for what, name in {asked}:
    try:
        answers.append({{"load": load, "tell": tell}}[what](Checkpoint.of(name)))
    except ServiceDown as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model in two shards beside files that nobody needs."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in (*SMALL, *SHARDS, *OTHERS):
        (folder / file).write_text("x" * 1000)
    (folder / SMALL[-1]).write_text(json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}))
    return folder


def ask(endpoint: str, cache: Path, *asked: tuple[str, str], **environment: str) -> list[Any]:
    """What loading a model gives, or telling of it, one after the other in one process."""
    answers: list[Any] = json.loads(fetch(endpoint, cache, CODE.format(asked=list(asked)), **environment).stdout)
    return answers


LOAD, TELL = ("load", "owner/name"), ("tell", "owner/name")


@pytest.mark.slow
def test_what_is_needed_comes_from_the_hub_once(tmp_path: Path, repository: Path) -> None:
    cache, needed = tmp_path / "cache", sorted([*SMALL, *SHARDS])
    with served({"owner/name": repository}) as endpoint:
        assert ask(endpoint, cache, LOAD) == [needed]
        (last,) = cache.rglob(SHARDS[1])
        last.unlink()  # a download that was cut off goes on
        (told, *_), loaded = ask(endpoint, cache, TELL, LOAD)
        assert ": 1e-06 GB to download (told by the hub)" in told, "the rest is here"
        assert loaded == needed
    # The hub is gone.
    loaded, (told, *_) = ask(endpoint, cache, LOAD, TELL)
    assert loaded == needed
    assert told.startswith("reads captions: owner/name@main: in the cache, nothing to download, memory about")


def test_the_hub_tells_the_size(tmp_path: Path, repository: Path) -> None:
    (repository / SHARDS[0]).write_bytes(bytes(3_000_000))
    with served({"owner/name": repository}) as endpoint:
        ((model, download, memory, time),) = ask(endpoint, tmp_path / "cache", TELL)
    assert model == "reads captions: owner/name@main: 0.003 GB to download (told by the hub), memory about 0.803 GB"
    assert download.startswith("to download: 0.003 GB in all, about 0 s at 100 Mbit/s, to ")
    assert memory == "memory of cpu: at most about 0.803 GB, computed; it has 24 GB"
    assert "takes about 4 min on cpu" in time
    assert "this run uses 1 thread: --torch.threads" in time


def test_without_the_hub_the_table_tells_the_size(tmp_path: Path) -> None:
    with served({}) as endpoint:
        pass
    (model, download, *_), told = ask(endpoint, tmp_path, ("tell", LLM), LOAD)
    assert model == (
        "reads captions: Qwen/Qwen3-4B-Instruct-2507@cdbee75f: 8.06 GB to download (as declared; the hub does not "
        "tell), memory about 8.84 GB"
    )
    assert download.startswith("to download: 8.06 GB in all, about 11 min at 100 Mbit/s")
    assert told == (
        "cannot load owner/name@main: the model hub does not answer (ConnectionError), and it is not whole in the "
        "cache; run again when the hub can be reached, or download it and give its path"
    )


def test_what_nobody_knows_is_said(tmp_path: Path) -> None:
    (model, memory, _), told = ask("http://127.0.0.1:9", tmp_path, TELL, LOAD, HF_HUB_OFFLINE="1")
    assert model.startswith("reads captions: owner/name@main: to download, of unknown size: the hub does not tell it")
    assert memory.endswith("and what is of unknown size, computed; it has 24 GB")
    assert "the model hub does not answer (OfflineModeIsEnabled)" in told


def test_a_wrong_name_or_commit_is_told(tmp_path: Path, repository: Path) -> None:
    with served({"owner/name": repository}) as endpoint:
        asked = [("load", "owner/nothing"), ("load", "owner/name@" + "d" * 40), ("tell", "owner/no name")]
        nothing, commit, (odd, *_) = ask(endpoint, tmp_path, *asked)
    assert "is the hub reachable and the name right?" in nothing
    assert "the hub has no such commit or branch of it" in commit
    assert "of unknown size: the hub does not tell it (HFValidationError)" in odd


@pytest.mark.parametrize("file", [*SMALL, *SHARDS, "model.safetensors", "merges.txt", "tokenizer.model"])
def test_settings_vocabularies_and_safetensors_are_needed(file: str) -> None:
    assert is_needed(file)


@pytest.mark.parametrize("file", [*OTHERS, "onnx/model.safetensors", "figures/config.json", "LICENSE"])
def test_other_files_are_not(file: str) -> None:
    assert not is_needed(file)


def test_weights_come_last() -> None:
    assert in_order([*SHARDS, *SMALL])[-2:] == SHARDS


def test_the_local_profile_fits_into_12_gb() -> None:
    """Computed: one language model at a time, the small networks, and the work of one."""
    weights = {name: known.n_parameters for name, known in PUBLISHED.items()}
    peak = max(2 * weights[LLM], 2 * weights[VLM]) + 4 * weights[DINO] + 4 * weights[SAM2] + max(WORK_BYTES.values())
    assert peak < 12e9
    assert all(0.9 < 2 * weights[name] / PUBLISHED[name].n_bytes <= 1 for name in (LLM, VLM))
    assert all(0.9 < 4 * weights[name] / PUBLISHED[name].n_bytes <= 1 for name in (DINO, SAM2))


def test_every_default_names_its_commit() -> None:
    assert all(len(name.partition("@")[2]) == 40 for name in (LLM, VLM, DINO, SAM2))


def test_a_path_is_measured(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(2_000_000))
    use = Use("verifies boxes", Checkpoint.of(str(tmp_path)), "language_model", 2)
    model, memory, time = forecast([use], "cuda:0", 4, 12_000_000_000)
    assert model.endswith(": a local path, memory about 0.802 GB")
    assert memory == "memory of cuda:0: at most about 0.802 GB, computed; it has 12 GB"
    _, memory, _ = forecast([use], "cuda:0", 4, 500_000_000)
    assert memory.endswith("it has 0.5 GB: name smaller models in --local.llm and --local.vlm, or another device")
    assert time.startswith("a clip of 10 s with two instances takes about 20 s on cuda:0 (estimated from ")
    assert CPU_S.keys() == GPU_S.keys() == WORK_BYTES.keys()
