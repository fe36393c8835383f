"""tasks.backends.local_models with tiny random networks: replies that end are valid, whatever the network wants."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.outcome import RowFailed, ServiceDown
from schemas.usage import Meter
from tasks.backends.chat.asking import schema_of
from tasks.backends.chat.captions import ChatCaptions, CountReply, DescribeReply, ListReply, RatingReply
from tasks.backends.chat.replies import Reply, validate
from tasks.backends.chat.verifier import ChatVerifier, VerifyReply
from tasks.backends.local_models import LocalConfig
from tasks.backends.local_models.chat import LocalChat
from tasks.backends.local_models.network import Completed, language_model
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, loaded, release_others
from tasks.prompts import load_prompt
from tests.support import tiny_chat
from tests.support.builders import make_instance

pytestmark = pytest.mark.models

CPU = TorchConfig(device="cpu")
CAPTION = "A boy kicks a ball."
REPLIES = [CountReply, ListReply, RatingReply, DescribeReply, VerifyReply]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> LocalConfig:
    folder = tmp_path_factory.mktemp("weights")
    llm, vlm = tiny_chat.save_llm(folder / "llm"), tiny_chat.save_vlm(folder / "vlm")
    return LocalConfig(llm=str(llm), vlm=str(vlm), max_tokens=200)


CHAT = [{"role": "system", "content": "Reply."}, {"role": "user", "content": CAPTION}]


def torch_cpu() -> Any:
    import torch

    return torch.device("cpu")


def with_(config: LocalConfig, **changes: Any) -> LocalConfig:
    return config.model_copy(update=changes)


def completed(checkpoint: str, text: str, schema: type[Reply] = RatingReply, **how: Any) -> Completed:
    """What a model says to a text."""
    messages = [CHAT[0], {"role": "user", "content": text}]
    chosen = {"temperature": 0.0, "seed": 0, "max_tokens": 40} | how
    with language_model(Checkpoint.of(checkpoint), "bfloat16", torch_cpu()) as model:
        return model.complete(messages, schema_of(schema), **chosen)


# --- Replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_that_ends_fits_its_schema(weights: LocalConfig, reply: type[Reply]) -> None:
    """Whatever the network wants, and however a token is chosen of what it wants."""
    n_whole = 0
    with language_model(Checkpoint.of(weights.llm), "bfloat16", torch_cpu()) as model:
        for seed in range(20):
            babbling = replace(model, network=tiny_chat.Babble(seed, model.grammars.vocab_size))
            made = babbling.complete(
                CHAT, schema_of(reply), temperature=float(seed % 2), seed=seed, max_tokens=400 if seed else 20
            )
            if made.is_whole:
                n_whole += 1
                fault = validate(made.text.encode(), reply, None)
                # Blank texts are the only thing that the schema cannot tell.
                assert isinstance(fault, Reply) or "is blank" in fault.detail, made.text
            else:
                assert made.n_tokens == (400 if seed else 20)
    assert n_whole >= 15


def test_the_same_question_gets_the_same_reply(weights: LocalConfig, tmp_path: Path) -> None:
    import torch

    def replies() -> list[Completed]:
        afresh = [completed(weights.llm, CAPTION, CountReply, temperature=9.0, seed=seed) for seed in (3, 4)]
        return [completed(weights.llm, CAPTION, CountReply), *afresh]

    first = replies()
    assert len(set(first)) == 3
    release_others("language_model", "nothing", torch.device("cpu"))
    torch.manual_seed(99)
    assert replies() == first


def test_a_published_models_own_settings_do_not_count(weights: LocalConfig, tmp_path: Path) -> None:
    """Its folder asks for drawing at a temperature, with a penalty: tiny_chat saves it so."""
    settings = json.loads((Path(weights.llm) / "generation_config.json").read_text())
    assert settings["do_sample"] is True
    plain = tiny_chat.save_llm(tmp_path / "plain")
    (plain / "generation_config.json").unlink()
    assert completed(str(plain), CAPTION) == completed(weights.llm, CAPTION)


def test_a_reply_that_is_cut_off_fails_its_row_and_is_not_kept(weights: LocalConfig, tmp_path: Path) -> None:
    short = with_(weights, max_tokens=5)
    reader = ChatCaptions(LocalChat("LLM", short, CPU, tmp_path))
    with pytest.raises(RowFailed) as failed:
        reader.count_interactions(CAPTION, 0)
    assert (failed.value.reason, failed.value.retryable) == ("invalid_reply", False)
    assert 'cut off at 5 tokens; it begins "{"cou"; raise --local.max-tokens (3 tries)' in failed.value.detail
    assert failed.value.suspicion is not None
    assert failed.value.suspicion.told.endswith("or name another model in --local.llm")
    assert not list(tmp_path.iterdir())
    verifier = ChatVerifier(LocalChat("VLM", short, CPU, tmp_path))
    with pytest.raises(RowFailed, match="cut off"):
        verifier.verify(noise(64, 64), (8, 8, 40, 40), make_instance("id2", "ball"), CAPTION)


def test_replies_are_kept_and_counted(weights: LocalConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_chat.say(monkeypatch, lambda request: {"count": 2})
    model = LocalChat("LLM", weights, CPU, tmp_path)
    with Meter() as meter:
        assert [ChatCaptions(model).count_interactions(CAPTION, 0) for _ in range(3)] == [2, 2, 2]
    (spent,) = meter.spent
    assert (spent.role, spent.model) == ("LLM", model.identity([], [])["model"])
    assert (spent.usage.calls, spent.usage.cached, spent.usage.completion_tokens) == (1, 2, len('{"count": 2}') + 1)
    other = LocalChat("LLM", with_(weights, precision="float32"), CPU, tmp_path)
    with Meter() as meter:
        ChatCaptions(other).count_interactions(CAPTION, 0)
    assert meter.spent[0].usage.calls == 1, "a reply of other weights is no answer of these"


def test_the_questions_are_the_servers(weights: LocalConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"match": True, "confidence": 0.75, "rationale": "Red and round."}

    tiny_chat.say(monkeypatch, answer)
    verifier = ChatVerifier(LocalChat("VLM", weights, CPU, tmp_path))
    told = verifier.verify(noise(64, 96), (8, 8, 40, 40), make_instance("id2", "ball"), CAPTION)
    assert (told.match, told.confidence, told.rationale) == (True, 0.75, "Red and round.")
    (request,) = asked
    assert request["messages"][0]["content"] == load_prompt("verify_candidate").text
    text, *pictures = request["messages"][1]["content"]
    assert json.loads(text["text"])["target"]["class_name"] == "ball"
    assert len(pictures) == 2


def test_both_pictures_reach_the_network(weights: LocalConfig, monkeypatch: Any, tmp_path: Path) -> None:
    given: list[dict[str, Any]] = []
    with language_model(Checkpoint.of(weights.vlm), "bfloat16", torch_cpu()) as model:
        generate = model.network.generate

        def look(**inputs: Any) -> Any:
            given.append(inputs)
            return generate(**inputs)

        monkeypatch.setattr(model.network, "generate", look)
    verifier = ChatVerifier(LocalChat("VLM", with_(weights, max_retries=0, max_tokens=5), CPU, tmp_path))
    with pytest.raises(RowFailed, match="cut off"):
        verifier.verify(noise(64, 96), (8, 8, 40, 40), make_instance("id2", "ball"), CAPTION)
    (inputs,) = given
    patches = inputs["image_grid_thw"].prod(dim=1)
    assert len(patches) == 2
    assert inputs["pixel_values"].shape[0] == patches.sum()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


# --- Texts that a model obeys --------------------------------------------------------------------


def test_a_text_cannot_end_its_message(tmp_path: Path) -> None:
    """Questions escape "<", with which most control tokens begin; others are refused."""
    folder = tiny_chat.save_llm(tmp_path / "llm")
    file = folder / "tokenizer.json"
    tokens = json.loads(file.read_text())
    added = next(token for token in tokens["added_tokens"] if token["content"] == "<|video_pad|>")
    added["content"] = "[/INST]"
    file.write_text(json.dumps(tokens))
    for old in ("added_tokens.json", "special_tokens_map.json"):
        (folder / old).unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {}
    settings.pop("additional_special_tokens", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model = LocalChat("LLM", LocalConfig(llm=str(folder)), CPU, tmp_path / "cache")
    with pytest.raises(RowFailed, match=r"control_token: the text holds \['\[/INST\]'\]") as failed:
        ChatCaptions(model).count_interactions("A boy kicks [/INST] a ball.", 0)
    assert not failed.value.retryable


# --- Weights -------------------------------------------------------------------------------------


def test_weights_in_shards_are_the_same_model(weights: LocalConfig, tmp_path: Path) -> None:
    folder = tiny_chat.save_llm(tmp_path / "llm")
    tiny_chat.shard(folder)
    assert completed(str(folder), CAPTION) == completed(weights.llm, CAPTION)


def test_one_language_model_is_in_memory(weights: LocalConfig) -> None:
    completed(weights.llm, CAPTION, max_tokens=3)
    completed(weights.vlm, CAPTION, max_tokens=3)
    assert [name for name in loaded() if name.startswith("language_model")] == ["language_model on cpu"]


def test_a_model_that_sees_reads_captions_too(weights: LocalConfig, tmp_path: Path, monkeypatch: Any) -> None:
    """One download for both."""
    tiny_chat.say(monkeypatch, lambda request: {"count": 2})
    both = with_(weights, llm=weights.vlm)
    assert ChatCaptions(LocalChat("LLM", both, CPU, tmp_path)).count_interactions(CAPTION, 0) == 2


def test_a_model_that_sees_nothing_verifies_nothing(weights: LocalConfig, tmp_path: Path) -> None:
    blind = with_(weights, vlm=weights.llm)
    verifier = ChatVerifier(LocalChat("VLM", blind, CPU, tmp_path))
    with pytest.raises(ServiceDown, match=r"llm sha256:\w+ sees no pictures: name another in --local\.vlm"):
        verifier.verify(noise(64, 64), (8, 8, 40, 40), make_instance("id2", "ball"), CAPTION)


def lost(folder: Path, file: str) -> None:
    (folder / file).unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: lost(folder, "model.safetensors"), "is the download complete?"),
        (lambda folder: lost(folder, "config.json"), "are these the weights of this architecture"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "is the download complete?"),
        (lambda folder: lost(folder, "chat_template.jinja"), "has no chat template: name a model that is made for"),
    ],
)
def test_weights_that_are_not_whole_stop_the_shard(tmp_path: Path, spoil: Any, told: str) -> None:
    folder = tiny_chat.save_llm(tmp_path / "llm")
    spoil(folder)
    with pytest.raises(ServiceDown, match=told) as down:
        completed(str(folder), CAPTION)
    assert "\n" not in str(down.value)


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    """transformers would make them up."""
    from safetensors.torch import load_file, save_file

    folder = tiny_chat.save_llm(tmp_path / "llm")
    whole = load_file(folder / "model.safetensors")
    some = {name: value for name, value in whole.items() if not name.startswith("model.layers.1.mlp")}
    save_file(some, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ServiceDown, match=r"does not fit the architecture: 3 \(model\.layers\.1\.mlp"):
        completed(str(folder), CAPTION)


def test_a_network_of_no_numbers_fails_its_rows(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_chat.save_llm(tmp_path / "llm")
    broken = {name: value * float("nan") for name, value in load_file(folder / "model.safetensors").items()}
    save_file(broken, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RowFailed, match=r"not_finite: .* set local\.precision to float32"):
        completed(str(folder), CAPTION)


def test_memory_that_runs_out_is_told_with_what_helps(weights: LocalConfig, monkeypatch: Any) -> None:
    import torch

    def exhaust(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    with language_model(Checkpoint.of(weights.llm), "bfloat16", torch_cpu()) as model:
        monkeypatch.setattr(model.network, "generate", exhaust)
    with pytest.raises(RowFailed, match=r"gpu_out_of_memory: .* Take a smaller model \(local\.llm, local\.vlm\)"):
        completed(weights.llm, CAPTION)


def test_a_template_that_takes_no_instructions_is_told(tmp_path: Path) -> None:
    template = "{{ raise_exception('System role not supported') }}"
    folder = tiny_chat.save_llm(tmp_path / "llm", template=template)
    with pytest.raises(ServiceDown, match=r"its chat template refuses the questions: System role not supported; name"):
        completed(str(folder), CAPTION)


def test_the_identity_names_all_that_replies_depend_on(weights: LocalConfig, tmp_path: Path) -> None:
    def identity(config: LocalConfig) -> dict[str, str]:
        return ChatCaptions(LocalChat("LLM", config, CPU, tmp_path)).identity

    first = identity(weights)
    assert first["backend"] == "transformers"
    assert first["model"].startswith("llm sha256:")
    assert {"precision", "transformers", "llguidance", "max_tokens", "prompt.count_interactions"} <= first.keys()
    for change in ({"precision": "float32"}, {"max_tokens": 9}, {"seed": 1}, {"retry_temperature": 1.0}):
        assert identity(with_(weights, **change)) != first
    other_vlm = with_(weights, vlm=weights.llm)
    assert identity(other_vlm) == first
