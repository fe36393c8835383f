"""tasks.backends.torch_runtime: checkpoints, the hub, one load a process, devices and threads."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from schemas.outcome import RowFailed, ServiceDown
from tasks.backends import extras
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import (
    Checkpoint,
    TorchConfig,
    check_weights,
    device_of,
    import_torchvision,
    inference,
    load_once,
    loading,
    memory_of,
    release_others,
)
from tasks.engine.progress import Tally
from tests.support.hub import fetch, served

models = pytest.mark.models

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


# --- Checkpoints -----------------------------------------------------------------------------


def test_a_checkpoint_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "tiny.pth"
    file.write_bytes(b"weights")
    first = Checkpoint.of(str(file)).identity
    assert first == "tiny.pth sha256:9a129038d9a00aed"
    file.write_bytes(b"other weights")
    assert Checkpoint.of(str(file)).identity != first


def test_a_folder_is_known_by_its_files_and_their_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    seen = {Checkpoint.of(str(tmp_path)).identity}
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "vocab.txt").write_text("a")
    seen.add(Checkpoint.of(str(tmp_path)).identity)
    (tmp_path / "more" / "vocab.txt").rename(tmp_path / "more" / "merges.txt")
    seen.add(Checkpoint.of(str(tmp_path)).identity)
    assert len(seen) == 3


def test_a_repository_of_the_hub_may_name_a_revision() -> None:
    assert Checkpoint.of("owner/name").identity == "owner/name@main"
    assert Checkpoint.of("owner/name@2b90b9f").identity == "owner/name@2b90b9f"


@pytest.mark.parametrize("name", ["weights.pth", "weights/sam2.pt", "./owner/name", "/owner/name", "name", "a/b/c"])
def test_a_path_where_nothing_is(name: str) -> None:
    with pytest.raises(ServiceDown, match="download it there, or give a repository of the model hub as OWNER/NAME"):
        Checkpoint.of(name)


def test_what_goes_wrong_in_loading_is_no_rows_fault(tmp_path: Path) -> None:
    (tmp_path / "tiny.pth").write_bytes(b"")
    local, remote = Checkpoint.of(str(tmp_path / "tiny.pth")), Checkpoint.of("owner/name")
    told = r"cannot load tiny\.pth .*OSError: broken; are these the weights"
    with pytest.raises(ServiceDown, match=told), loading(local):
        raise OSError("broken")
    told = r"cannot load owner/name@main: .*is the hub reachable"
    with pytest.raises(ServiceDown, match=told), loading(remote):
        raise OSError("no such host")


@pytest.mark.parametrize(
    "error", [MemoryError("9 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GiB")]
)
def test_a_model_that_does_not_fit_into_memory(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "tiny.pth").write_bytes(b"")
    told = r"cannot load tiny\.pth .*9 GiB; it does not fit into memory: .* take a smaller model"
    with pytest.raises(ServiceDown, match=told), loading(Checkpoint.of(str(tmp_path / "tiny.pth"))):
        raise error


def test_weights_must_fit() -> None:
    checkpoint = Checkpoint.of("owner/name")
    check_weights(checkpoint, missing=[], unexpected=set())
    with pytest.raises(ServiceDown, match=r"4 \(a, b, c, \.\.\.\) missing, none left over"):
        check_weights(checkpoint, missing=["d", "c", "b", "a"], unexpected=[])


# --- The hub ---------------------------------------------------------------------------------

FETCH = """
import time
time.sleep = lambda s: None  # the pauses between tries, 23 s in all
from schemas.outcome import ServiceDown
from tasks.backends.torch_runtime import Checkpoint, loading
checkpoint = Checkpoint.of("owner/name")
try:
    with loading(checkpoint):
        print(checkpoint.folder(["config.json", "model.safetensors"]), end="")
except ServiceDown as error:
    print("ServiceDown:", error)
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in ("config.json", "model.safetensors"):
        (folder / file).write_text(f"the {file}")
    return folder


def test_files_come_from_the_hub_once(tmp_path: Path, weights: Path) -> None:
    with served({"owner/name": weights}) as endpoint:
        folder = Path(fetch(endpoint, tmp_path, FETCH).stdout)
    assert folder.name == "c" * 40
    assert (folder / "model.safetensors").read_bytes() == b"the model.safetensors"
    # The branch has moved, then the hub is gone; the run goes on with what it has.
    with served({"owner/name": weights}, commit="d" * 40) as endpoint:
        assert Path(fetch(endpoint, tmp_path, FETCH).stdout) == folder
    assert Path(fetch(endpoint, tmp_path, FETCH, HF_HUB_OFFLINE="1").stdout) == folder


def test_a_hub_that_cannot_be_asked(tmp_path: Path) -> None:
    with served({}) as endpoint:
        pass
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
        said = fetch(endpoint, tmp_path, FETCH, **environment).stdout
        assert said.startswith("ServiceDown: cannot load owner/name@main: LocalEntryNotFoundError")
        assert "is the hub reachable and the name right? If not, download it and give its path" in said


def test_a_commit_that_the_hub_does_not_have(tmp_path: Path, weights: Path) -> None:
    with served({"owner/name": weights}) as endpoint:
        said = fetch(endpoint, tmp_path, FETCH.replace("owner/name", f"owner/name@{'d' * 40}")).stdout
    assert said.startswith(f"ServiceDown: cannot load owner/name@{'d' * 40}: RevisionNotFoundError")
    assert said.strip().endswith("the hub has no such commit or branch of it: is what follows the @ right?")


def test_what_the_hub_does_not_have(tmp_path: Path, weights: Path) -> None:
    (weights / "config.json").unlink()
    with served({"owner/name": weights}) as endpoint:
        file = fetch(endpoint, tmp_path, FETCH).stdout
        repository = fetch(endpoint, tmp_path, FETCH.replace("owner/name", "owner/nothing")).stdout
    assert file.startswith("ServiceDown: cannot load owner/name@main: EntryNotFoundError")
    assert repository.startswith("ServiceDown: cannot load owner/nothing@main: RepositoryNotFoundError")


@pytest.mark.slow
def test_a_silent_hub_hangs_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_s = time.monotonic()
        said = fetch(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, FETCH).stdout
    assert said.startswith("ServiceDown: cannot load owner/name@main")
    assert time.monotonic() - started_s < 20


# --- Models ----------------------------------------------------------------------------------


def test_a_model_is_loaded_once_whoever_asks_first() -> None:
    builds: list[int] = []

    def build() -> object:
        builds.append(1)
        time.sleep(0.05)
        return object()

    with ThreadPoolExecutor(4) as pool:
        networks = set(pool.map(lambda _: load_once("test", "once", "cpu", build), range(4)))
    assert len(builds) == len(networks) == 1
    assert load_once("test", "another", "cpu", build) not in networks


def test_a_load_that_failed_is_tried_again() -> None:
    def fail() -> object:
        raise ServiceDown("no weights")

    with pytest.raises(ServiceDown):
        load_once("test", "retried", "cpu", fail)
    assert load_once("test", "retried", "cpu", lambda: 7) == 7


@models
def test_of_large_models_one_is_in_memory() -> None:
    import torch

    def load(kind: str, name: str, device: str) -> object:
        return load_once(kind, name, device, object)

    first, other_kind, elsewhere = load("big", "a", "cpu"), load("small", "a", "cpu"), load("big", "a", "cuda")
    release_others("big", "b", torch.device("cpu"))
    second = load("big", "b", "cpu")
    release_others("big", "b", torch.device("cpu"))
    assert load("big", "b", "cpu") is second
    assert (load("small", "a", "cpu"), load("big", "a", "cuda")) == (other_kind, elsewhere)
    assert load("big", "a", "cpu") is not first


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps", ""])
def test_devices_have_names(device: str) -> None:
    with pytest.raises(ValueError):
        TorchConfig(device=device)


@models
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ServiceDown, match=r"no cuda:99 here .* set torch.device to auto or cpu"):
        device_of(TorchConfig(device="cuda:99"))


@models
def test_a_devices_memory_is_known() -> None:
    import torch

    assert 1e9 < memory_of(torch.device("cpu")) < 1e14


@models
def test_every_thread_gets_the_threads_of_the_config() -> None:
    import torch

    def threads_after(n: int) -> int:
        device_of(TorchConfig(device="cpu", threads=n))
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads_after, 2).result() == 2
        assert threads_after(1) == 1
        assert pool.submit(torch.get_num_threads).result() == 2  # why device_of is called in the thread that computes
        assert pool.submit(threads_after, 1).result() == 1


@models
def test_the_gpus_errors_are_told_as_what_they_are() -> None:
    import torch

    device = torch.device("cpu")
    with pytest.raises(RowFailed) as failure, inference(device, "float32"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")
    assert (failure.value.reason, failure.value.retryable) == ("gpu_out_of_memory", True)
    told = "cpu: an illegal memory access; restart this worker"
    with pytest.raises(ServiceDown, match=told), inference(device, "float32"):
        raise torch.AcceleratorError("an illegal memory access\nCUDA kernel errors")


@models
def test_precision_and_gradients_of_a_forward_pass() -> None:
    import torch

    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with inference(torch.device("cpu"), "bfloat16"):
        assert layer(x).dtype == torch.bfloat16
    with inference(torch.device("cpu"), "float32"):
        y = layer(x)
    assert y.dtype == torch.float32
    assert not y.requires_grad


@models
def test_a_forward_pass_is_the_devices_time() -> None:
    import torch

    tally = Tally("measure shard-1", 1)
    row = tally.begin("clip")
    with row.current():
        assert tally.device_time is None
        with inference(torch.device("cpu"), "float32"):
            time.sleep(0.01)
        with pytest.raises(RowFailed), inference(torch.device("cpu"), "float32"):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        time.sleep(0.05)
    taken = tally.device_time
    assert taken is not None
    assert 0.01 <= taken.busy_s < 0.05


@models
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_on_a_gpu_what_still_runs_counts_and_its_error_is_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """There need not be one: only its name and its `synchronize` are asked for."""
    import torch

    tally = Tally("measure shard-1", 1)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: time.sleep(0.02))
    with tally.begin("clip").current(), inference(torch.device("cuda"), "float32"):
        pass  # kernels are launched, and run on
    taken = tally.device_time
    assert taken is not None
    assert taken.busy_s >= 0.02

    def fail(device: object) -> None:
        raise torch.AcceleratorError("an illegal memory access")

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    with pytest.raises(ServiceDown, match="an illegal memory access"), inference(torch.device("cuda"), "float32"):
        pass


@models
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize(("device", "most"), [("cuda", 1), ("cpu", 2)])
def test_a_gpu_takes_one_row_at_a_time(monkeypatch: pytest.MonkeyPatch, device: str, most: int) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    both_in, inside = threading.Barrier(2), []

    def run(_: int) -> None:
        with inference(torch.device(device), "float32"):
            inside.append(1)
            with contextlib.suppress(threading.BrokenBarrierError):
                both_in.wait(timeout=0.1 if most == 1 else 10)
            seen.append(len(inside))
            inside.pop()

    seen: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    assert max(seen) == most


# --- Imports ---------------------------------------------------------------------------------


def test_what_is_not_installed_is_told_with_how_to_install_it() -> None:
    told = r"no_such_library is not installed: pip install -c constraints\.txt -e '\.\[models\]'"
    with pytest.raises(ServiceDown, match=told), MODELS.imports():
        import no_such_library  # noqa: F401
    told = r"cannot import name 'nothing' from 'json'.* do not fit each other"
    with pytest.raises(ServiceDown, match=told), MODELS.imports():
        from json import nothing  # noqa: F401


def test_a_machine_that_only_plans_names_the_versions_it_has_not() -> None:
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line and "#" not in line)
    for library in ("groundingdino-py", "llguidance", "sam2", "transformers"):
        assert MODELS.pinned(library) == {library: pins[library]}


def test_rows_side_by_side_do_not_parse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsing: list[int] = []
    most: list[int] = []

    def parse(line: str) -> Requirement:
        parsing.append(1)
        time.sleep(0.002)
        most.append(len(parsing))
        parsing.pop()
        return Requirement(line)

    monkeypatch.setattr(extras, "Requirement", parse)
    monkeypatch.setattr(extras, "requires", lambda _: ['sam2==1.1.0; extra == "models"'] * 3)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: MODELS.pinned("sam2"), range(4))) == [{"sam2": "1.1.0"}] * 4
    assert max(most) == 1


def test_another_version_than_rows_would_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "version", lambda package: "0.0.1")
    told = r"sam2 0\.0\.1 is installed, but 1\.1\.0 is pinned: pip install"
    with pytest.raises(ServiceDown, match=told), MODELS.imports("sam2"):
        pytest.fail("what is inside must not run")


@models
def test_what_the_models_extra_installs_is_what_rows_name() -> None:
    with MODELS.imports("groundingdino-py", "llguidance", "sam2", "transformers"):
        pass


@models
def test_torchvision_of_another_torch_does_not_stop_transformers() -> None:
    code = """
from tasks.backends.torch_runtime import import_torchvision
import_torchvision()
import_torchvision()
import torchvision.transforms
from transformers import BertModel
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    import_torchvision()
