"""Curate a dataset: videos, prompts or seeds in, a published snapshot out.

triptych curate matrix11k --manifest videos/captions.jsonl --root data
"""

from __future__ import annotations

import sys

from flows.registry import load_flow, names


def main(arguments: list[str]) -> None:
    start("curate", arguments)


def start(verb: str, arguments: list[str]) -> None:
    """Run one of the verb's flows with its options; exits with its error."""
    name, *options = arguments or ["--help"]
    known = names(verb)
    if name in known:
        load_flow(name).main(options)
        return
    usage = f"usage: triptych {verb} DATASET [options]\n\nDATASET: {', '.join(known)}; DATASET --help tells more."
    if name in ("-h", "--help"):
        print(usage)
        return
    sys.exit(f"there is no dataset {name!r}\n\n{usage}")
