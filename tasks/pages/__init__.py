"""What the report pages of all datasets share: the frame of the page, its looks, the yield, the reasons, the cost.

    write_page(Path(__file__).parent / "report.html.j2", folder, snapshot, manifest, usage, cards=cards)
    ->  folder/index.html, folder/usage.json

A dataset's template extends `page.html.j2` and fills its blocks; everything else is the same for all:

    page.html.j2    header, yield, reasons, how to ask     style.css.j2    its looks, light and dark
    usage.html.j2   calls, tokens and cost                 usage           what they are counted from
    follow.js.j2    drawings that follow a film            charts          charts as inline SVG
    funnel          the yield, stage by stage              ended           rejected and failed rows, by reason
    rows            the snapshot's tables                  marks           phrases of a text, marked in colour
    colours         colours as CSS writes them             palette         one colour an instance
    pictures        frames as JPEG, labelled boxes         wording         numbers and texts as pages write them

What a page shows of captions, paths, reasons and rationales is other people's text: the templates escape it.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import jinja2

from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath, sweep, write_atomic
from tasks.pages.funnel import funnel_bars
from tasks.pages.usage import MAX_SHARDS, USAGE_FILE, UsageReport
from tasks.pages.wording import counted, percent, score, shorten, signed, thousands

FILTERS = {
    "counted": counted,
    "percent": percent,
    "score": score,
    "shorten": shorten,
    "signed": signed,
    "thousands": thousands,
}


def write_page(
    template: Path,
    folder: AnyPath,
    snapshot: AnyPath,
    manifest: SnapshotManifest,
    usage: UsageReport | None,
    **values: Any,
) -> AnyPath:
    """Write index.html, last of all, from a template that extends page.html.j2 and is given `values`; returns it.

    usage: what model servers were asked for the snapshot, if any was; written beside the page
    """
    if usage:
        write_atomic(folder / USAGE_FILE, usage.model_dump_json(indent=1).encode())
    page = (
        _environment(template.parent)
        .get_template(template.name)
        .render(
            manifest=manifest,
            funnel=funnel_bars(snapshot, manifest),
            usage=usage,
            usage_file=USAGE_FILE,
            max_shards=MAX_SHARDS,
            root=shlex.quote(str(snapshot.parent.parent)),  # the flow's --root holds the snapshots' folder
            **values,
        )
    )
    index = folder / "index.html"
    write_atomic(index, page.encode())
    sweep(folder)
    return index


def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment
