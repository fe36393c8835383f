"""Language models with tiny random networks, saved as real checkpoints are.

    LocalConfig(llm=str(save_llm(tmp_path / "llm")), vlm=str(save_vlm(tmp_path / "vlm")))

Needs the models extra, imported by the functions. Their tokens are the 256 bytes and the control tokens of Qwen; what
they say is arbitrary, and the same for the same question.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.backends.local_models.chat import LocalChat
from tasks.backends.local_models.network import LanguageModel
from tasks.backends.torch_runtime import import_torchvision

CONTROL = ["<|im_end|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
TEMPLATE = """{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}
{%- endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""
LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "tie_word_embeddings": True,
}
SEEING: dict[str, Any] = {
    **{"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2},
    **{"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 16},
}
PIXELS = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}  # smaller pictures than published models see


def save_llm(
    folder: Path, seed: int = 0, template: str | None = TEMPLATE, layers: dict[str, Any] = LAYERS, n_tokens: int = 0
) -> Path:
    """A Qwen3 of two layers, or of others. n_tokens: of its vocabulary; 0: as few as there are"""
    import_torchvision()
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = make_tokenizer(template)
    torch.manual_seed(seed)
    size = n_tokens or _padded(len(tokenizer))
    config = Qwen3Config(vocab_size=size, eos_token_id=tokenizer.eos_token_id, **layers)
    network = Qwen3ForCausalLM(config)
    _spread(network)
    # Published models bring settings of their own, which must not count.
    network.generation_config.update(do_sample=True, temperature=0.7, top_k=20, repetition_penalty=1.2)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_vlm(
    folder: Path,
    seed: int = 0,
    layers: dict[str, Any] = LAYERS,
    seeing: dict[str, Any] = SEEING,
    pixels: dict[str, int] = PIXELS,
    n_tokens: int = 0,
) -> Path:
    """A Qwen3-VL with two layers for text and one for pictures, or others."""
    import_torchvision()
    import torch
    from transformers import (
        Qwen2VLImageProcessorFast,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = make_tokenizer(TEMPLATE)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    vision = {name: tokenizer.convert_tokens_to_ids(f"<|vision_{name}|>") for name in ("start", "end")}
    half = layers["head_dim"] // 2  # shared by time, height and width
    parts = [half - 2 * (half * 5 // 16), half * 5 // 16, half * 5 // 16]
    rope = {"rope_type": "default", "mrope_section": parts, "mrope_interleaved": True}
    torch.manual_seed(seed)
    config = Qwen3VLConfig(
        text_config={"vocab_size": n_tokens or _padded(len(tokenizer)), "rope_scaling": rope, **layers},
        vision_config={"out_hidden_size": layers["hidden_size"], **seeing},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=vision["start"],
        vision_end_token_id=vision["end"],
        tie_word_embeddings=True,
    )
    network = Qwen3VLForConditionalGeneration(config)
    _spread(network)
    network.save_pretrained(folder)
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(patch_size=16, size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def make_tokenizer(template: str | None) -> Any:
    """Bytes and control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={sign: number for number, sign in enumerate(alphabet)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokenizer = Qwen2TokenizerFast(tokenizer_object=tokens, eos_token=CONTROL[0], pad_token=CONTROL[0], unk_token=None)
    tokenizer.add_special_tokens({"additional_special_tokens": CONTROL[1:]})
    tokenizer.chat_template = template
    return tokenizer


def shard(folder: Path) -> None:
    """Cut the weights in two files with an index, as those of large models are published."""
    from safetensors.torch import load_file, save_file

    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, its in halves.items():
        save_file({name: whole[name] for name in its}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {name: file for file, its in halves.items() for name in its}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _padded(n_tokens: int) -> int:
    """Published vocabularies are longer than their tokenizers: the places beyond must never be chosen."""
    return -(-n_tokens // 64) * 64


def _spread(network: Any) -> None:
    """Random networks repeat themselves; larger weights make what they say depend on the question."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)


class Scripted(ABC):
    """In place of a network: only the scores of the next token are made up, the rest of a reply's way is real."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    @abstractmethod
    def scores(self, place: int) -> Any:
        """(vocabulary,) of the reply's token at this place."""

    def generate(self, *, input_ids: Any, generation_config: Any, logits_processor: Any, **_: Any) -> Any:
        import torch

        for place in range(generation_config.max_new_tokens):
            token = logits_processor(input_ids, self.scores(place)[None]).argmax()
            input_ids = torch.cat([input_ids, token.view(1, 1)], dim=1)
            if token == generation_config.eos_token_id:
                break
        return input_ids


class Wish(Scripted):
    """Wants to say a given text: what the schema forbids of it is not said."""

    def __init__(self, tokens: Sequence[int], vocabulary: int) -> None:
        super().__init__(vocabulary)
        self.tokens = tokens

    def scores(self, place: int) -> Any:
        import torch

        likely = torch.zeros(self.vocabulary)
        likely[self.tokens[min(place, len(self.tokens) - 1)]] = 100  # at any temperature
        return likely


class Babble(Scripted):
    """Wants anything, and more and more to come to an end."""

    def __init__(self, seed: int, vocabulary: int) -> None:
        super().__init__(vocabulary)
        self.rng = np.random.default_rng(seed)
        self.ends = [make_tokenizer(None).convert_tokens_to_ids(end) for end in (*'"]},', CONTROL[0])]

    def scores(self, place: int) -> Any:
        import torch

        likely = torch.from_numpy(self.rng.standard_normal(self.vocabulary))
        likely[self.ends] += place / 20
        return likely


def say(monkeypatch: pytest.MonkeyPatch, answers: Callable[[dict[str, Any]], dict[str, Any] | str | None]) -> None:
    """Have local models reply what `answers` makes of a request; None leaves it to the random network."""
    exchange, complete, asked = LocalChat._exchange, LanguageModel.complete, threading.local()

    def remember(self: LocalChat, request: dict[str, Any]) -> Any:
        asked.request = request
        return exchange(self, request)

    def speak(self: LanguageModel, *args: Any, **kwargs: Any) -> Any:
        answer = answers(asked.request)
        if answer is None:
            return complete(self, *args, **kwargs)
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        wish = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]
        return complete(replace(self, network=Wish(wish, self.grammars.vocab_size)), *args, **kwargs)

    monkeypatch.setattr(LocalChat, "_exchange", remember)
    monkeypatch.setattr(LanguageModel, "complete", speak)
