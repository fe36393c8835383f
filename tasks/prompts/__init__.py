"""The prompts, as data: one Markdown file each, identified by its hash.

load_prompt("count_interactions") -> Prompt(name="count_interactions", text="You read ...", sha256="9f3c...")
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Prompt:
    """A model's instructions. Their hash enters the keys and the records of everything made with them."""

    name: str
    text: str
    sha256: str


def load_prompt(name: str) -> Prompt:
    """The prompt in `<name>.md`. Raises FileNotFoundError if there is none."""
    data = resources.files(__name__).joinpath(f"{name}.md").read_bytes()
    return Prompt(name, data.decode(), hashlib.sha256(data).hexdigest())
