"""Language models by transformers, which complete chats under a JSON schema.

    with language_model(Checkpoint.of("weights/qwen3"), "bfloat16", device) as model:
        model.complete(messages, schema, temperature=0.0, seed=0, max_tokens=512)
    ->  Completed(text='{"count": 1}', is_whole=True, n_prompt_tokens=412, n_tokens=6)

At every step llguidance tells which tokens the schema allows. Of these the likeliest is taken, or one is drawn by a
generator with the question's own seed: the same question gets the same reply. `messages` are a chat completion's.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from schemas.outcome import RowFailed, ServiceDown
from tasks.backends.extras import MODELS
from tasks.backends.local_models.files import local_folder
from tasks.backends.torch_runtime import (
    Checkpoint,
    Precision,
    check_weights,
    import_torchvision,
    inference,
    load_once,
    loading,
    quiet_transformers,
    release_others,
)
from tasks.engine.progress import advance

if TYPE_CHECKING:
    import torch

KIND = "language_model"
OUT_OF_MEMORY = "Take a smaller model (local.llm, local.vlm), or set torch.device to cpu."


class Completed(NamedTuple):
    """A reply."""

    text: str
    is_whole: bool  # False: cut off at max_tokens
    n_prompt_tokens: int
    n_tokens: int


# Those of two stages would take the memory of both, and two replies at once that of two.
_one_at_a_time = threading.Lock()


@contextmanager
def language_model(checkpoint: Checkpoint, precision: Precision, device: torch.device) -> Iterator[LanguageModel]:
    """The model, loaded, for one reply; another one that was in memory has left it.

    Raises ServiceDown if it cannot be loaded.
    """
    identity = (checkpoint.identity, precision)
    with _one_at_a_time:
        release_others(KIND, identity, device)
        yield load_once(KIND, identity, device, lambda: _load(checkpoint, precision, device))


def _load(checkpoint: Checkpoint, precision: Precision, device: torch.device) -> LanguageModel:
    import_torchvision()  # transformers imports it if it is installed
    with MODELS.imports("transformers", "llguidance"):
        import llguidance.hf
        import torch
        from transformers import (
            AutoConfig,
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            AutoProcessor,
            AutoTokenizer,
        )
    with loading(checkpoint), quiet_transformers():
        here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        folder = local_folder(checkpoint)
        settings = AutoConfig.from_pretrained(folder, **here)
        sees = hasattr(settings, "vision_config")
        # Safetensors only: other formats are pickles, which execute code.
        network, fit = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(
            folder,
            config=settings,
            dtype=getattr(torch, precision),
            use_safetensors=True,
            output_loading_info=True,
            **here,
        )
        check_weights(checkpoint, missing=fit["missing_keys"], unexpected=fit["unexpected_keys"])
        processor = AutoProcessor.from_pretrained(folder, **here) if sees else None
        tokenizer = processor.tokenizer if processor else AutoTokenizer.from_pretrained(folder, **here)
        if not (processor or tokenizer).chat_template:
            raise ServiceDown(f"{checkpoint.identity} has no chat template: name a model that is made for chats")
        network.eval().requires_grad_(False).to(device)
        grammars = llguidance.hf.from_tokenizer(tokenizer, n_vocab=settings.get_text_config().vocab_size)
    return LanguageModel(checkpoint, network, tokenizer, processor, grammars, device)


@dataclass(frozen=True)
class LanguageModel:
    """A loaded network with what turns chats into its input."""

    checkpoint: Checkpoint
    network: Any
    tokenizer: Any
    processor: Any | None  # of models that see pictures
    grammars: Any  # llguidance's view of the tokenizer
    device: torch.device

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        schema: Mapping[str, Any],
        *,
        temperature: float,
        seed: int,
        max_tokens: int,
    ) -> Completed:
        """A reply that the schema allows.

        temperature: 0 takes the likeliest token at every step
        Raises RowFailed("control_token"), RowFailed("not_finite") and what the GPU raises; ServiceDown if the model
        takes no such messages.
        """
        from transformers import GenerationConfig, LogitsProcessorList

        self._check_text(messages)
        given = self._input(messages).to(self.device)
        n_prompt_tokens = given["input_ids"].shape[1]
        end = self.tokenizer.eos_token_id
        # Only what is named here: published models bring temperatures and penalties of their own.
        settings = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=end, pad_token_id=end)
        choose = SchemaTokens(self.grammars, schema, temperature, seed)
        # Without autocast: the weights themselves have the precision.
        with inference(self.device, "float32", OUT_OF_MEMORY):
            made = self.network.generate(
                **given,
                generation_config=settings,
                use_model_defaults=False,
                logits_processor=LogitsProcessorList([choose]),
            )
        tokens = made[0, n_prompt_tokens:].tolist()
        is_whole = tokens[-1] == end
        text = self.tokenizer.decode(tokens[:-1] if is_whole else tokens, clean_up_tokenization_spaces=False)
        return Completed(text, is_whole, n_prompt_tokens, len(tokens))

    def _check_text(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Raises RowFailed if the user's text holds a control token, with which it could end its message."""
        special = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        for part in _parts(messages[-1]["content"]):
            found = special.intersection(self.tokenizer(part.get("text", ""), add_special_tokens=False)["input_ids"])
            if found:
                names = self.tokenizer.convert_ids_to_tokens(sorted(found))
                raise RowFailed(
                    "control_token", f"the text holds {names}, control tokens of this model", retryable=False
                )

    def _input(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        """The chat as tokens, and the pictures in it as the network takes them."""
        from jinja2 import TemplateError

        how: dict[str, Any] = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
        try:
            if self.processor is None:
                if any(not isinstance(message["content"], str) for message in messages):
                    raise ServiceDown(f"{self.checkpoint.identity} sees no pictures: name another in --local.vlm")
                # Of models that can do both: the schema leaves no room for thoughts before the reply.
                return self.tokenizer.apply_chat_template(list(messages), enable_thinking=False, **how)
            shown = [{**message, "content": [_shown(p) for p in _parts(message["content"])]} for message in messages]
            return self.processor.apply_chat_template(shown, tokenize=True, **how)
        except TemplateError as error:
            raise ServiceDown(
                f"{self.checkpoint.identity}: its chat template refuses the questions: {error}; name another model"
            ) from error


class SchemaTokens:
    """Chooses the next token among those that the schema allows; a logits processor, for one reply."""

    def __init__(self, grammars: Any, schema: Mapping[str, Any], temperature: float, seed: int) -> None:
        import llguidance
        import llguidance.numpy
        import torch

        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema),
            # As models write JSON of their own accord: no line breaks, in which a weak one never ends.
            defaults={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
        )
        self._matcher = llguidance.LLMatcher(grammars, grammar)
        if self._matcher.is_error():
            raise ValueError(f"no grammar of this schema: {self._matcher.get_error()}")
        self._bits = llguidance.numpy.allocate_token_bitmask(1, grammars.vocab_size)
        self._end = grammars.eos_token
        self._temperature, self._n_chosen = temperature, 0
        self._generator = torch.Generator().manual_seed(seed)  # on the CPU: the same numbers on every device

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores: (1, vocabulary). The same with one token that is possible."""
        import torch

        if self._n_chosen:
            self._matcher.consume_token(int(input_ids[0, -1]))
        allowed = torch.from_numpy(self._allowed()).to(scores.device)
        likely = scores[0].float().masked_fill(~allowed[: scores.shape[1]], -torch.inf)
        token = int(likely.argmax())
        if not torch.isfinite(likely[token]):
            remedy = "set local.precision to float32; if it is, the weights are broken"
            raise RowFailed("not_finite", f"the model's scores are no numbers: {remedy}", retryable=False)
        if self._temperature:
            shares = (likely / self._temperature).softmax(dim=0).cpu()
            token = int(torch.multinomial(shares, 1, generator=self._generator))
        self._n_chosen += 1
        advance(self._n_chosen, None, "tokens of a reply")
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([token], device=scores.device), 0.0)

    def _allowed(self) -> np.ndarray:
        """(vocabulary,) bool."""
        import llguidance.numpy

        if self._matcher.is_stopped():  # the JSON is over
            only_end = np.zeros(self._bits.size * 32, bool)
            only_end[self._end] = True
            return only_end
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._bits)
        return np.unpackbits(self._bits.view(np.uint8), bitorder="little").astype(bool)


def _parts(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _shown(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a message as transformers' templates take it."""
    from PIL import Image

    if part["type"] == "text":
        return part
    _, _, data = part["image_url"]["url"].partition("base64,")
    return {"type": "image", "image": Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")}
