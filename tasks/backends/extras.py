"""The libraries of the optional extras: the pinned versions that rows record, and the check that they are installed.

MODELS.pinned("sam2")           {"sam2": "1.1.0"}
with MODELS.imports("sam2"):    ServiceDown, with how to install it, unless that version is installed
    import sam2
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from schemas.outcome import ServiceDown

DISTRIBUTION = "triptych"

_parsing = threading.Lock()  # packaging calls Python's parser, which two threads at once can break (CPython 3.11)


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml."""

    name: str
    more: str = ""  # where to read more

    @property
    def install(self) -> str:
        return f"pip install -c constraints.txt -e '.[{self.name}]'{self.more}"

    def pinned(self, *packages: str) -> dict[str, str]:
        """The versions that it pins, for identities.

        Not the installed ones: a machine that only plans has none of these libraries but computes the keys of rows that
        others make. `imports` checks that the installed version is the pinned one.
        """
        try:
            with _parsing:
                pins = [Requirement(line) for line in requires(DISTRIBUTION) or []]
        except PackageNotFoundError as error:
            raise ServiceDown(f"{DISTRIBUTION} is not installed: {self.install}") from error
        mine = f'extra == "{self.name}"'
        found = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins if mine in str(pin.marker)}
        if missing := set(packages) - set(found):
            raise ServiceDown(f"{DISTRIBUTION} was installed before it had {', '.join(missing)}: {self.install}")
        return {package: found[package] for package in packages}

    @contextmanager
    def imports(self, *packages: str) -> Iterator[None]:
        """For imports of `packages`, whose versions rows record.

        Raises ServiceDown, with how to install it, if a package is missing or not the pinned version.
        """
        try:
            for package, pinned in self.pinned(*packages).items():
                if (found := version(package)) != pinned:
                    raise ServiceDown(f"{package} {found} is installed, but {pinned} is pinned: {self.install}")
            yield
        except PackageNotFoundError as error:
            raise ServiceDown(f"{error.name} is not installed: {self.install}") from error
        except ModuleNotFoundError as error:
            # transformers raises this for any failure within its own imports, without a module name.
            raise ServiceDown(f"{error.name or error} is not installed: {self.install}") from error
        except ImportError as error:
            raise ServiceDown(f"{error}: installed versions do not fit each other; {self.install}") from error


MODELS = Extra("models", " (docs/models.md)")
KINEMASK = Extra("kinemask")
DECORD = Extra("decord")
TRANSNET = Extra("transnet", " (docs/models.md)")
