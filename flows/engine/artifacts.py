"""What Prefect's pages show of a snapshot: the yield as a table, the tally with links as text.

    keys: yield-matrix11k, snapshot-matrix11k     one history for each dataset

    **120 inputs = 41 accepted + 77 rejected + 2 failed**
    [Report](http://localhost:8600/reports/matrix11k-3f9c2a71b0de/) · [files](...)
    triptych ask --root /data --snapshot matrix11k-3f9c2a71b0de

Links are of `triptych serve` (TRIPTYCH_REPORTS_URL); without its address, the command that starts it is told.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run as current_run

from schemas.snapshot import Count
from tasks.engine.publish import ask_command
from tasks.engine.snapshots import Snapshot
from tasks.pages.address import DEFAULT_PORT, files_url, report_url
from tasks.pages.wording import shorten

N_REASONS = 20  # of failed rows that are told, the most frequent first
MAX_REASON = 80  # characters


def create_artifacts(snapshot: Snapshot, has_report: bool) -> None:
    """Must be called in a flow run."""
    manifest = snapshot.manifest
    steps = [step.model_dump() for step in manifest.funnel]
    about = f"Yield of {manifest.snapshot_id}, stage by stage"
    create_table_artifact(steps, key=artifact_key("yield", manifest.dataset), description=about)
    create_markdown_artifact(as_markdown(snapshot, has_report), key=artifact_key("snapshot", manifest.dataset))


class OwnArtifact:
    """An artifact of the current flow run, made once and then changed. The server may be away: it is told later."""

    def __init__(self, key: str, kind: str, description: str) -> None:
        """kind: one of Prefect's, such as markdown and progress"""
        self.key, self.kind, self.description = key, kind, description
        self.shown: Any = None
        self._id: UUID | None = None

    def show(self, data: Any) -> None:
        if data == self.shown:
            return
        try:
            with get_client(sync_client=True) as client:
                self._write(client, data)
        except httpx.HTTPError:
            return
        self.shown = data

    def _write(self, client: SyncPrefectClient, data: Any) -> None:
        run_id = UUID(str(current_run.id))
        if self._id is None:  # an earlier try of this run may have made it
            found = client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[self.key])),
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
            )
            self._id = found[0].id if found else None
        if self._id is None:
            new = ArtifactCreate(
                key=self.key, type=self.kind, flow_run_id=run_id, description=self.description, data=data
            )
            self._id = client.create_artifact(new).id
        else:
            change(client, self._id, data)


def change(client: SyncPrefectClient, artifact_id: UUID, data: Any) -> None:
    # Not client.update_artifact: that stores every version in the server's events as well.
    client.request("PATCH", "/artifacts/{id}", path_params={"id": artifact_id}, json={"data": data})


def artifact_key(kind: str, dataset: str) -> str:
    """Keys hold lower-case letters, digits and dashes: split_scenes, my_clips -> split-scenes-my-clips."""
    return f"{kind}-{dataset}".replace("_", "-")


def as_markdown(snapshot: Snapshot, has_report: bool) -> str:
    """The tally, where to look, what to ask, what failed."""
    manifest, folder = snapshot.manifest, snapshot.folder
    if isinstance(folder, Path):  # whoever reads this is in another folder than the worker
        snapshot = Snapshot(folder.absolute())
    failed = sorted((count for count in manifest.outcomes if count.status == "failed"), key=lambda c: -c.n)
    questions = ["", "failed"] if failed else [""]
    parts = [
        f"## {escape(manifest.snapshot_id)}",
        f"**{manifest.tally}**",
        *_where_to_look(snapshot, has_report),
        "What happened, row by row:",
        fenced("\n".join(ask_command(snapshot, question) for question in questions)),
    ]
    if failed:
        parts += ["Failed:", "\n".join(_table(failed))]
    return "\n\n".join(parts)


def _where_to_look(snapshot: Snapshot, has_report: bool) -> Iterator[str]:
    report, files = report_url(snapshot.id), files_url(snapshot.id)
    if files:
        yield " · ".join([*([f"[Report]({report})"] if has_report else []), f"[Files]({files})"])
        return
    place = "reports" if has_report else "snapshots"
    root = shlex.quote(str(snapshot.folder.parent.parent))
    yield f"To see its {'report and files' if has_report else 'files'}, run this on a machine that sees the root:"
    yield fenced(f"triptych serve --root {root}    # then open http://127.0.0.1:{DEFAULT_PORT}/{place}/{snapshot.id}/")
    yield "With `TRIPTYCH_REPORTS_URL` set for the workers, this page links there."


def _table(counts: list[Count]) -> Iterator[str]:
    yield "| rows | stage | reason |\n|---:|---|---|"
    for count in counts[:N_REASONS]:
        yield f"| {count.n} | {escape(count.stage)} | {escape(count.reason or '')} |"
    if more := counts[N_REASONS:]:
        yield f"| {sum(count.n for count in more)} | | {len(more)} other reasons |"


def escape(text: str, length: int = MAX_REASON) -> str:
    """Other people's text as one line of Markdown that is only text: no markup, no link, no cell's end.

    Not as entities or as code: the first UI shows `&#42;` as it stands, and backticks in code end it.
    length: characters, before what is escaped
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", shorten(text, length))


def fenced(text: str) -> str:
    """A block of code: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"
