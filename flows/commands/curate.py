"""Curate a dataset: videos, prompts or seeds in, a published snapshot out.

triptych curate matrix11k --manifest videos/captions.jsonl --root data
"""

from __future__ import annotations

import sys

from flows.registry import FLOWS, load_flow


def main(arguments: list[str]) -> None:
    name, *options = arguments or ["--help"]
    if name in FLOWS:
        load_flow(name).main(options)
        return
    usage = f"usage: triptych curate DATASET [options]\n\nDATASET: {', '.join(FLOWS)}; DATASET --help tells more."
    if name in ("-h", "--help"):
        print(usage)
        return
    sys.exit(f"there is no dataset {name!r}\n\n{usage}")
