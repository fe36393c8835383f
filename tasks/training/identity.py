"""What code and which libraries a training is made with: parts of its request.

code_digest("tasks.training.job", "tasks.training.recipes.dsr.recipe")     SHA-256 of these and all of ours they import
library_versions()                                                        ["torch 2.13.0", "diffusers 0.39.0", ...]
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from schemas.local_copies import file_sha256
from schemas.outcome import ServiceDown
from tasks.backends.extras import MODELS

ROOT = Path(__file__).parents[2]
OURS = ("schemas", "tasks")
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")


def library_versions() -> list[str]:
    """Read without importing them. Raises ServiceDown if one is not installed."""
    try:
        return [f"{name} {version(name)}" for name in LIBRARIES]
    except PackageNotFoundError as error:
        raise ServiceDown(f"{error.name} is not installed: {MODELS.install}") from error


def file_digest(path: Path) -> str:
    """Of a file that decides on how a training computes: "accelerate.yaml sha256:...". Raises ServiceDown."""
    try:
        return f"{path.name} sha256:{file_sha256(path)[:16]}"
    except OSError as error:
        raise ServiceDown(f"{path} cannot be read: {error.strerror}") from error


def code_digest(*modules: str) -> str:
    """SHA-256 over the source of modules and of every module of ours that they import, wherever they do."""
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = _source_of(name)
        if path is None or name in found:
            continue
        found[name] = path
        todo += _imported_by(path)
        todo.append(name.rpartition(".")[0])  # a package's __init__ is run first
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(f"{name} {hashlib.sha256(found[name].read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _source_of(module: str) -> Path | None:
    """The file of a module of ours; None for another's, and for what is no module but a name within one."""
    if module.partition(".")[0] not in OURS:
        return None
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)  # `from tasks.media import video`
    if path.name == "__init__.py" and (main := path.with_name("__main__.py")).is_file():  # `python -m PACKAGE`
        yield ".".join(main.relative_to(ROOT).with_suffix("").parts)
