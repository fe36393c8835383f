"""triptych: curate datasets, ask them, export them.

triptych curate matrix11k --manifest videos/captions.jsonl
triptych ask --root data clip dog.mp4
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

from flows.engine.process import begin_command, quietly_cut_off


class Command(NamedTuple):
    """A command's file, and what it does in one line."""

    module: str  # has main(arguments); imported when it is called
    does: str


COMMANDS: dict[str, Command] = {
    "curate": Command("flows.commands.curate", "videos, prompts or seeds -> a published dataset"),
    "prepare": Command("flows.commands.prepare", "a published dataset -> samples that a model is trained on"),
    "train": Command("flows.commands.train", "such samples -> a trained model, on one GPU or several"),
    "deploy": Command("flows.commands.deploy", "the flows and their work pools -> a Prefect server"),
    "run": Command("flows.commands.run", "start a deployed flow on its workers, and watch it"),
    "ask": Command("flows.commands.ask", "what happened to a clip, what failed and how to rerun it; training runs"),
    "demo": Command("flows.commands.demo", "a small run with a page to look at, from nothing"),
    "serve": Command("flows.commands.serve", "reports, snapshots and training runs in a browser"),
    "export": Command("flows.commands.export", "a snapshot as plain files"),
    "notify": Command("flows.commands.notify", "a message to a webhook or by mail when a deployed run fails"),
    "condition": Command("flows.commands.condition", "arrows on a picture -> the velocity masks that a model takes"),
}


def usage() -> str:
    lines = [f"  {name:<11}{command.does}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: triptych COMMAND ...", "", *lines, "", "triptych COMMAND --help tells more."])


def main(arguments: list[str] | None = None) -> None:
    if arguments is None:  # no test's call: this process is the command's
        begin_command()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in COMMANDS:
        sys.exit(f"there is no command {name!r}\n\n{usage()}")
    with quietly_cut_off():
        import_module(COMMANDS[name].module).main(rest)


if __name__ == "__main__":
    main()
