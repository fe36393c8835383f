"""The frame of a dataset's page: its header, the yield, the reasons, the cost; the room's template fills the rest.

write_report(snapshot, folder, PageContext(work))            the same for every dataset: tasks/datasets/*/report
->  write_page(Path(__file__).parent, snapshot, folder, context, embedded, ended, views=views)
->  folder/index.html, folder/usage.json
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jinja2

from schemas.storage import AnyPath, sweep, write_atomic
from schemas.usage import TokenPrices
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work
from tasks.metrics.compare_truth import TruthReport
from tasks.pages.charts import columns, word_bars
from tasks.pages.funnel import EndedGroup, funnel_bars
from tasks.pages.usage import MAX_SHARDS, USAGE_FILE, StageDevice, StageUsage, usage_report
from tasks.pages.views import evenly_spaced
from tasks.pages.wording import counted, percent, score, shorten, signed, thousands

T = TypeVar("T")

TEMPLATE = "report.html.j2"  # of a dataset's room
SCRIPT = "film.js.j2"  # the one script of a page
FILTERS = {f.__name__: f for f in (counted, percent, score, shorten, signed, thousands)}
RELOAD_S = 20  # how often the page of an unfinished run loads itself again
MAX_SHOWN_SO_FAR = 4  # clips with pictures on such a page: it is drawn again and again
CHARTS = {f.__name__: f for f in (columns, word_bars)}


@dataclass(frozen=True)
class Unfinished:
    """A run that goes on, on the page of what it has done so far.

    written:   when, for people
    n_rows:    rows that there are: those on the page and those still to be done
    n_earlier: rows that an earlier run had done, which are not on the page
    n_charted: rows on the page that its pictures and charts are of, the newest
    """

    written: str
    n_rows: int
    n_earlier: int
    n_charted: int
    reload_s: int = RELOAD_S


@dataclass(frozen=True)
class PageContext:
    """What a page tells that is no part of its snapshot.

    work:   where the input videos lie; one that is gone or unreadable is missing from the page, no more
    spent:  what model servers were asked for the snapshot: `read_usage`
    prices: what their tokens cost; without prices the page tells only how many there were
    device: how long stages used their devices: `read_device_times`
    truth:  how the result compares with the truth, if there is any
    unfinished: the run that still makes it; None for a snapshot that is published
    """

    work: Work
    spent: Sequence[StageUsage] = ()
    prices: TokenPrices = field(default_factory=TokenPrices)
    device: Sequence[StageDevice] = ()
    truth: TruthReport | None = None
    unfinished: Unfinished | None = None

    def choose(self, items: Sequence[T], most: int) -> list[T]:
        """Which of the items are shown: spread evenly; of an unfinished run the newest, and these first."""
        if self.unfinished is None:
            return evenly_spaced(items, most)
        return list(reversed(items[max(0, len(items) - self.most(most)) :]))

    def most(self, usually: int) -> int:
        """How many clips are shown with pictures."""
        return usually if self.unfinished is None else min(usually, MAX_SHOWN_SO_FAR)


def write_page(
    room: Path | Sequence[Path],
    snapshot: Snapshot,
    folder: AnyPath,
    context: PageContext,
    embedded: Collection[str],
    ended: Sequence[EndedGroup[Any]],
    **values: Any,
) -> AnyPath:
    """Write index.html, last of all, from the room's template, which is given `values`; returns it.

    room:     its folder; those of the templates that it extends come after it
    embedded: backends without weights and servers; the page says what that means
    ended:    rejected and failed rows
    """
    manifest = snapshot.manifest
    usage = usage_report(snapshot, context.spent, context.prices)
    if usage:  # beside the page
        write_atomic(folder / USAGE_FILE, usage.model_dump_json(indent=1).encode())
    page = (
        environment(*([room] if isinstance(room, Path) else room))
        .get_template(TEMPLATE)
        .render(
            manifest=manifest,
            funnel=funnel_bars(snapshot),
            ended=ended,
            embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in embedded],
            usage=usage,
            usage_file=USAGE_FILE,
            max_shards=MAX_SHARDS,
            device=context.device,
            unfinished=context.unfinished,
            root=shlex.quote(str(snapshot.folder.parent.parent)),  # the flow's --root holds the snapshots' folder
            **values,
        )
    )
    index = folder / "index.html"
    write_atomic(index, page.encode())
    sweep(folder)
    return index


def environment(*rooms: Path) -> jinja2.Environment:
    """Templates of these folders, then of this one."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*rooms, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= CHARTS
    return environment
