"""A manifest, or a folder of videos with captions beside them -> sources.

    {"video": "dog.mp4", "caption": "A woman throws a red ball to a dog."}
        -> Source(source_id="src-5f0c...", video_sha256="9b1e...", line=1, ...)

Manifests are JSON lines, CSV or Parquet with the columns of schemas.source.ManifestRow. In a folder,
`dog.mp4` takes its caption from `dog.txt` beside it. An unusable line ends as an outcome that
names the line; the others go on. Manifest and videos may lie in a store (s3://bucket/captions.jsonl).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from schemas.local_copies import Content, fetch, file_sha256
from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column
from schemas.source import ManifestRow, Source
from schemas.storage import REQUESTS_AT_ONCE, AnyPath, ObjectPath, at_once, list_files, write_atomic
from tasks.engine.inputs import Inputs
from tasks.engine.progress import counted
from tasks.readers.lines import (
    MANIFEST_SUFFIXES,
    EndedLines,
    InputLine,
    ManifestError,
    parse_line,
    read_lines,
    require_manifest,
)

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"})
STAGE = "read_manifest"

logger = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")


class ManifestListing(Record):
    """A manifest, read: every line is a source or an outcome."""

    sources: list[Source] = column("Usable lines, in the manifest's order")
    outcomes: list[Outcome] = column("Lines that ended here: unusable, or a repetition of an earlier one")


def read_manifest(
    manifest: AnyPath, limit: int | None = None, *, allow_outside: bool = False, known: AnyPath | None = None
) -> ManifestListing:
    """Read a manifest file or a folder of videos.

    limit: read only this many lines
    known: folder that caches each object's hash: only new objects are fetched
    Raises ManifestError if there is no manifest.
    """
    inputs = Inputs(folder=inputs_folder(manifest), allow_outside=allow_outside)
    lines = list(islice(_lines(manifest), limit))

    def read_line(line: InputLine) -> Source | RowFailed:
        return _read_line(line, inputs, lambda path: content_of(path, known))

    read = read_each(manifest, read_line, lines, "lines")
    sources: dict[str, Source] = {}
    ended = EndedLines(STAGE)
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
        ended.add(line, end)
    return ManifestListing(sources=list(sources.values()), outcomes=ended.outcomes)


def inputs_folder(manifest: AnyPath) -> AnyPath:
    if isinstance(manifest, ObjectPath):  # called often, and asking a store is slow
        return manifest.parent if manifest.suffix.lower() in MANIFEST_SUFFIXES else manifest
    return manifest if manifest.is_dir() else manifest.parent


def read_each(place: AnyPath, read: Callable[[T], U], items: Sequence[T], unit: str) -> list[U]:
    """[read(item), ...], several at a time, with progress. place: their storage."""
    n_at_once = REQUESTS_AT_ONCE if isinstance(place, ObjectPath) else 4  # reading and hashing release the GIL
    with ThreadPoolExecutor(n_at_once) as pool:
        return list(counted(pool.map(read, items), unit, len(items)))


def content_of(path: AnyPath, known: AnyPath | None) -> Content:
    """A video's hash and size; `known` as in read_manifest. Raises OSError."""
    if isinstance(path, Path):
        return Content(file_sha256(path), path.stat().st_size)
    note = known / f"{path.stamp()}.json" if known is not None else None
    if note is not None:
        try:
            return Content(**json.loads(note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            logger.debug("%s is new", path)
    content = fetch(path)
    if note is not None:
        write_atomic(note, json.dumps(content._asdict()).encode())
    return content


def _read_line(line: InputLine, inputs: Inputs, read_content: Callable[[AnyPath], Content]) -> Source | RowFailed:
    try:
        row = parse_line(line, ManifestRow)
        content = read_content(inputs.locate(row.video))
    except RowFailed as error:
        return RowFailed(error.reason, f"line {line.number}: {error.detail}", retryable=error.retryable)
    except OSError as error:
        return RowFailed("missing_file", f"line {line.number}: {row.video!r}: {error.strerror}", retryable=True)
    return Source(
        source_id=Source.id_of(content.sha256, row.caption, row.start_s, row.end_s),
        external_id=row.id,
        line=line.number,
        video=row.video,
        video_sha256=content.sha256,
        n_bytes=content.n_bytes,
        caption=row.caption,
        start_s=row.start_s,
        end_s=row.end_s,
    )


# --- Kinds of manifest -----------------------------------------------------------------------


def _lines(manifest: AnyPath) -> Iterator[InputLine]:
    require_manifest(manifest)
    if manifest.is_dir():
        yield from (InputLine(number, values) for number, values in enumerate(_folder_rows(manifest), start=1))
    else:
        yield from read_lines(manifest)


def _folder_rows(folder: AnyPath) -> list[dict[str, Any]]:
    files = list_files(folder)
    there = set(files)
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise ManifestError(f"{folder} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}); give one that does")

    def row(video: Any) -> dict[str, Any]:
        sidecar = video.with_suffix(".txt")
        caption = sidecar.read_text("utf-8", errors="replace").strip() if sidecar in there else None
        return {"video": os.fspath(video.relative_to(folder)), "caption": caption or None}

    return at_once(folder, row, videos)


# --- Lines of a table ------------------------------------------------------------------------
