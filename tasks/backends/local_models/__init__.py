"""An LLM and a VLM by transformers in this process: no server, no key.

    LocalChat("LLM", LocalConfig(), TorchConfig(), cache).ask(CountReply, prompt, data) -> CountReply(count=1)

Replies are decoded under their schema (llguidance): one that ends is valid JSON of the reply's model. The prompts, the
replies and their checks are those of the servers (tasks/backends/chat).

    chat.py      the ChatModel          network.py   load a network, complete a chat under a schema
    files.py     what of a hub's repository is needed, and what is here already
    forecast.py  what a run will download, keep in memory and take
"""

from __future__ import annotations

from pydantic import Field

from schemas.config import StageConfig
from tasks.backends.chat.asking import MAX_RETRIES, Sampling
from tasks.backends.torch_runtime import Precision

LLM = "Qwen/Qwen3-4B-Instruct-2507@cdbee75f17c01a7cc42f958dc650907174af0554"
VLM = "Qwen/Qwen3-VL-2B-Instruct@89644892e4d85e24eaac8bacfd4f463576704203"
# What goes with them on a small GPU: the `local` profile's detector and tracker.
DINO = "IDEA-Research/grounding-dino-tiny@a2bb814dd30d776dcf7e30523b00659f4f141c71"
SAM2 = "facebook/sam2.1-hiera-tiny@de431c4043854a71d8101e17995dfe596bf101a5"


class LocalConfig(StageConfig):
    """The language models that run in this process. One is in memory at a time; where both are the same, it is loaded
    once."""

    llm: str = Field(
        LLM, description="Reads captions: a path, or OWNER/NAME[@REVISION] of the model hub; a model made for chats"
    )
    vlm: str = Field(VLM, description="Verifies boxes: the same; a model made for chats about pictures")
    precision: Precision = Field("bfloat16", description="Of the weights: float32 takes twice the memory")
    max_tokens: int = Field(1024, ge=1, description="Longest reply; a row with one that is cut off is asked anew")
    max_retries: int = Field(2, ge=0, le=MAX_RETRIES, description="Retries of a question before its row fails")
    retry_temperature: float = Field(
        0.5,
        gt=0,
        le=2,
        description="Temperature when a question is asked anew; the first time, each token is the likeliest",
    )
    seed: int = Field(0, ge=0, description="Seed of questions that are asked anew")

    @property
    def sampling(self) -> Sampling:
        return Sampling(0.0, self.retry_temperature, self.seed, self.max_tokens, self.max_retries)
