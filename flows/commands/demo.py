"""A small run from nothing to a page: makes its own input, needs no key, no weights and no server.

triptych demo                                     captioned videos, drawn, with known masks (matrix11k)
triptych demo kinemask --render.renderer raster   simulated clips (extra `kinemask`); without that option Blender
                                                  renders them (`make demo-kinemask` installs both)
triptych demo dsr --folder demo-dsr               prompts, drawn samples, preference pairs
triptych demo training                            the first one's clips, and a tiny model that learns from them (extra
                                                  `models`; `make demo-train` installs it)
"""

from __future__ import annotations

import argparse
import shlex
import time
from importlib import import_module
from pathlib import Path

from flows.registry import load_flow, names


def main(arguments: list[str] | None = None) -> None:
    datasets = names("curate")
    others: dict[str, str] = {"training": "flows.commands.demo_training"}
    parser = argparse.ArgumentParser(
        prog="triptych demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Other options are those of `triptych curate DATASET`.",
    )
    parser.add_argument("dataset", nargs="?", choices=[*datasets, *others], default=datasets[0])
    parser.add_argument("--folder", type=Path, help="where everything is put (default: demo, or demo-DATASET)")
    asked, options = parser.parse_known_args(arguments)
    folder: Path = asked.folder or Path("demo" if asked.dataset == datasets[0] else f"demo-{asked.dataset}")
    if asked.dataset in others:
        import_module(others[asked.dataset]).main(folder, options)
        return
    from flows.engine.command import (  # not for --help: it imports Prefect, which takes seconds
        errors_in_one_line,
        look_before,
    )
    from flows.engine.steps import run_step
    from tasks.engine.snapshots import Snapshot

    started_s = time.monotonic()
    flow = load_flow(asked.dataset)
    with errors_in_one_line(flow.name):
        look_before(folder)
        assert flow.demo is not None  # curated datasets have one
        made = run_step("make_input", flow.demo, folder)
        options = ["--root", str(folder), "--dataset", "demo", *made, *options]
        print(f"{flow.command} {shlex.join(options)}", flush=True)
        config = flow.parse(options)
        snapshot = Snapshot(flow.run(config))
    print(snapshot.manifest.tally, *config.product.headline(snapshot, config.compare_truth(snapshot)), sep="\n")
    served = shlex.join(["triptych", "serve", "--root", str(folder)])
    print(f"{time.monotonic() - started_s:.0f} s. Open this in a browser, or run `{served}` to see it from elsewhere:")
    print((folder / "reports" / snapshot.id / "index.html").resolve().as_uri())
