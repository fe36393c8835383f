"""A model server and the model on it, as the environment names them.

Endpoint.from_env("LLM") -> Endpoint("LLM", "http://localhost:8000/v1", "meta-llama/Llama-3.3-70B-Instruct")
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from schemas.outcome import ServiceDown
from schemas.usage import ModelRole


@dataclass(frozen=True)
class Endpoint:
    """A server and a model on it. No repr shows the key."""

    role: ModelRole
    base_url: str
    model: str
    key: SecretStr | None = None

    @classmethod
    def from_env(cls, role: ModelRole) -> Endpoint:
        """From TRIPTYCH_<role>_BASE_URL, _MODEL and _API_KEY; the key may be unset: local servers need none.

        Raises ServiceDown that names the missing or wrong variable.
        """
        base_url, model = (os.environ.get(variable(role, what), "").strip() for what in ("BASE_URL", "MODEL"))
        key = os.environ.get(variable(role, "API_KEY"), "").strip()
        examples = {
            variable(role, "BASE_URL"): (base_url, "https://api.openai.com/v1"),
            variable(role, "MODEL"): (model, "gpt-4o-2024-08-06"),
        }
        if lacking := {name: example for name, (value, example) in examples.items() if not value}:
            names, told = " and ".join(lacking), " and ".join(lacking.values())
            raise ServiceDown(f"no {role} is configured: export {names}, for example {told}")
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ServiceDown(f"{variable(role, 'BASE_URL')} is not an http(s) URL; export one that ends with /v1")
        if url.username is not None or url.query:
            # They would show in messages and logs.
            raise ServiceDown(
                f"{variable(role, 'BASE_URL')} holds a user or a query; export the key in {variable(role, 'API_KEY')}"
            )
        if not (key.isascii() and key.isprintable()):
            raise ServiceDown(f"{variable(role, 'API_KEY')} holds characters that no key has; export it again")
        return cls(role, base_url, model, SecretStr(key) if key else None)


def variable(role: ModelRole, what: str) -> str:
    return f"TRIPTYCH_{role}_{what}"
