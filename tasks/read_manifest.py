"""A manifest, or a folder of videos with side-car captions -> sources.

    {"video": "dog.mp4", "caption": "A woman throws a red ball to a dog."}
        -> Source(source_id="src-5f0c...", video_sha256="9b1e...", line=1, ...)

Manifests are JSON lines, CSV or Parquet with the columns of schemas.source.ManifestRow. In a folder,
`dog.mp4` takes its caption from `dog.txt` beside it. A line that cannot be used ends as an outcome that
names the line; the others go on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column, content_hash
from schemas.source import ManifestRow, Source

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"})
MANIFEST_SUFFIXES = frozenset({".jsonl", ".ndjson", ".csv", ".parquet"})
KINDS = ".jsonl, .csv or .parquet"
STAGE = "read_manifest"


class ManifestError(ValueError):
    """The manifest as a whole cannot be read."""


class Inputs(BaseModel):
    """Where the videos lie, and how far out of there a manifest may point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    allow_outside: bool = False

    def locate(self, video: str) -> Path:
        """The file that a manifest's `video` names. Raises RowFailed if it may not be, or cannot be, read."""
        parts = urlsplit(video)
        if parts.scheme == "file":
            path = Path(unquote(parts.path))
        elif "://" in video:
            raise RowFailed("unsupported_uri", f"{video!r}: only paths and file:// URIs are read", retryable=False)
        else:
            path = Path(video)
        if "\0" in video:
            raise RowFailed("bad_path", f"{video!r} holds a zero byte", retryable=False)
        folder = self.folder.resolve()
        path = (folder / path).resolve()
        if not self.allow_outside and not path.is_relative_to(folder):
            raise RowFailed(
                "outside_folder",
                f"{video!r} leads out of the manifest's folder; move it there or set allow_outside",
                retryable=False,
            )
        return path

    def verified(self, video: str, sha256: str) -> Path:
        """The located file, if it still holds the bytes that the row was planned with."""
        path = self.locate(video)
        try:
            now = file_sha256(path)
        except OSError as error:
            raise RowFailed("missing_file", f"{video!r}: {error.strerror}", retryable=True) from error
        if now != sha256:
            raise RowFailed("input_changed", f"{video!r} was rewritten while it was curated; run again", retryable=True)
        return path


class Listing(Record):
    """A manifest, read: every line is a source or an outcome."""

    sources: list[Source] = column("Usable lines, in the manifest's order")
    outcomes: list[Outcome] = column("Lines that ended here: unusable, or a repetition of an earlier one")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read again only when the file has changed."""
    stat = path.stat()
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=65536)
def _file_sha256(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(manifest: Path, *, allow_outside: bool = False) -> Listing:
    """Read a manifest file or a folder of videos.

    Raises ManifestError if there is nothing there that could be a manifest at all.
    """
    inputs = Inputs(folder=inputs_folder(manifest), allow_outside=allow_outside)
    lines = list(_lines(manifest))
    with ThreadPoolExecutor(max_workers=4) as pool:  # reading and hashing release the GIL
        read = list(pool.map(lambda line: _read_line(line, inputs), lines))

    sources: dict[str, Source] = {}
    outcomes: list[Outcome] = []
    occurrences: Counter[str] = Counter()
    for line, found in zip(lines, read, strict=True):
        if isinstance(found, Source):
            if found.source_id not in sources:
                sources[found.source_id] = found
                continue
            first = sources[found.source_id].line
            end: RowFailed | RowRejected = RowRejected(
                "duplicate_row", f"line {line.number}: same video, span and caption as line {first}"
            )
        else:
            end = found
        # A line that never became a source is known by its text, and by how often that text came before.
        text = content_hash(str(line.raw), length=16)
        occurrences[text] += 1
        outcomes.append(
            Outcome(
                row_id=f"line-{text}-{occurrences[text]}",
                kind="source",
                status="rejected" if isinstance(end, RowRejected) else "failed",
                stage=STAGE,
                reason=end.reason,
                detail=end.detail,
                retryable=isinstance(end, RowFailed) and end.retryable,
            )
        )
    return Listing(sources=list(sources.values()), outcomes=outcomes)


def inputs_folder(manifest: Path) -> Path:
    return manifest if manifest.is_dir() else manifest.parent


def _read_line(line: Line, inputs: Inputs) -> Source | RowFailed:
    try:
        row = _parse(line.raw)
        path = inputs.locate(row.video)
        sha256 = file_sha256(path)
        n_bytes = path.stat().st_size
    except RowFailed as error:
        return RowFailed(error.reason, f"line {line.number}: {error.detail}", retryable=error.retryable)
    except OSError as error:
        return RowFailed("missing_file", f"line {line.number}: {row.video!r}: {error.strerror}", retryable=True)
    return Source(
        source_id=Source.id_of(sha256, row.caption, row.start_s, row.end_s),
        external_id=row.id,
        line=line.number,
        video=row.video,
        video_sha256=sha256,
        n_bytes=n_bytes,
        caption=row.caption,
        start_s=row.start_s,
        end_s=row.end_s,
    )


def _parse(raw: bytes | dict[str, Any]) -> ManifestRow:
    try:
        values = json.loads(raw.decode("utf-8-sig")) if isinstance(raw, bytes) else raw
        row = ManifestRow.model_validate(values)
        row.model_dump_json()  # a lone surrogate cannot be stored
        return row
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
        raise RowFailed("bad_line", problems, retryable=False) from error
    except (ValueError, RecursionError) as error:
        raise RowFailed("bad_line", f"not a JSON object: {error}", retryable=False) from error


# --- Kinds of manifest -----------------------------------------------------------------------


def require_manifest(manifest: Path) -> None:
    """Raises ManifestError unless it is a folder, or a file of a kind that is read."""
    if manifest.is_dir():
        return
    if not manifest.is_file():
        raise ManifestError(f"{manifest} does not exist; give a {KINDS} manifest or a folder of videos")
    if manifest.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ManifestError(f"{manifest}: {manifest.suffix or 'no suffix'} is no manifest; use {KINDS}")


class Line(NamedTuple):
    number: int  # in the manifest, from 1
    raw: bytes | dict[str, Any]  # JSON text, or column values


def _lines(manifest: Path) -> Iterator[Line]:
    require_manifest(manifest)
    if manifest.is_dir():
        yield from (Line(number, values) for number, values in enumerate(_folder_rows(manifest), start=1))
        return
    try:
        match manifest.suffix.lower():
            case ".jsonl" | ".ndjson":
                # Not splitlines(): a caption may hold U+2028, which ends no line of JSON.
                lines = enumerate(manifest.read_bytes().split(b"\n"), start=1)
                yield from (Line(number, raw) for number, raw in lines if raw.strip())
            case ".csv":
                reader = csv.DictReader(io.StringIO(manifest.read_text("utf-8-sig"), newline=""), strict=True)
                yield from (Line(reader.line_num, _csv_values(row)) for row in reader)
            case ".parquet":
                rows = pq.read_table(manifest).to_pylist()
                yield from (Line(number, row) for number, row in enumerate(rows, start=1))
    except (csv.Error, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ManifestError(f"{manifest} cannot be read: {error}") from error


def _csv_values(row: dict[Any, Any]) -> dict[str, Any]:
    """CSV knows no null and no numbers: an empty cell is no value, the rest Pydantic converts."""
    return {str(name): value for name, value in row.items() if value not in ("", None)}


def _folder_rows(folder: Path) -> Iterator[dict[str, Any]]:
    found = False
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        found = True
        sidecar = path.with_suffix(".txt")
        caption = sidecar.read_text("utf-8", errors="replace").strip() if sidecar.is_file() else None
        yield {"video": os.fspath(path.relative_to(folder)), "caption": caption or None}
    if not found:
        raise ManifestError(f"{folder} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})")
