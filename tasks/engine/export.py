"""What `triptych export` writes: the layouts of a dataset, the clips in their order, and the folder that holds them.

    YOUTUBE_VIS = Layout("frames as JPEG, masks as YouTube-VIS JSON", write_youtube_vis)

    def write(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
        with open_export(folder, "youtube-vis") as export:
            for clip in plan_clips(snapshot, options):
                if export.known(clip.clip_id, clip.key) is None:
                    with export.unit(clip.clip_id, clip.key, ["train/JPEGImages/clip-81b2"]) as aside:
                        ...                                    # write below `aside`; it appears at once
            with export.lists(["train/instances.json"]) as aside:
                ...                                            # what names the others comes last

A killed export is run again: it keeps the units that it had finished, and ends in the same bytes. `.triptych/`
in the folder notes which files are the export's, so that nobody else's is ever overwritten or removed.
"""

from __future__ import annotations

import csv
import fcntl
import io
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from schemas.config import Settings
from schemas.outcome import RowFailed, RowRejected
from schemas.record import content_hash
from schemas.storage import write_atomic
from tasks.engine.snapshots import Snapshot, SnapshotError

STATE = ".triptych"
SKIPPED = "skipped.csv"
_LISTS = ""  # the unit of the files that name all others


# --- What a dataset offers ---------------------------------------------------------------------


class ExportOptions(Settings):
    """What can be asked of an export; each layout takes some of it."""

    limit: int | None = Field(None, ge=1, description="Only the first so many clips")
    n_frames: Literal[81, 49] = Field(81, description="Frames of a clip, at 16 frames/s")
    tokenizer: str | None = Field(None, description="Folder of the UMT5 tokenizer that counts a prompt's tokens")
    shard_mb: int = Field(512, ge=1, description="Most megabytes of a tar file")
    model: str | None = Field(None, description="Wan's folder, or OWNER/NAME@commit: it encodes videos and prompts")
    device: str = Field("auto", description="Where that model runs: auto, cpu, cuda")


@dataclass(frozen=True)
class Layout:
    """A form in which a dataset can be exported."""

    about: str  # in one line
    write: Callable[[Snapshot, Path, ExportOptions], str]  # -> what was written
    takes: frozenset[str] = frozenset({"limit"})  # of ExportOptions

    def check(self, name: str, options: ExportOptions) -> None:
        """Raises SnapshotError if an option was set that the layout does not take."""
        if strange := sorted(options.model_fields_set - self.takes):
            given = ", ".join(f"--{option.replace('_', '-')}" for option in strange)
            raise SnapshotError(f"the layout {name} does not take {given}")


# --- Clips in their order ----------------------------------------------------------------------


@dataclass(frozen=True)
class PlannedClip:
    """An accepted clip that is to be exported."""

    clip_id: str
    split: str  # train or test; train where a dataset has no splits, as `datasets` calls it
    shard_id: str  # of the snapshot
    number: int  # among all accepted clips of the snapshot, from 1
    key: str  # a hash of the files of the snapshot that its rows lie in


def plan_clips(snapshot: Snapshot, options: ExportOptions) -> list[PlannedClip]:
    """The accepted clips in the snapshot's order, at most options.limit. Reads no rows but the outcomes."""
    columns = snapshot.scan("outcomes").collect_schema().names()
    wanted = [name for name in ("row_id", "status", "split") if name in columns]
    ended = {row["row_id"]: row for row in snapshot.scan("outcomes").select(wanted).collect().iter_rows(named=True)}
    sha_of: dict[str, list[str]] = {}
    for file in snapshot.manifest.files:  # named shard-... or SPLIT-shard-...
        stem = Path(file.path).stem
        for name in {stem, stem.partition("-")[2]}:
            sha_of.setdefault(name, []).append(file.sha256)
    accepted = (
        (shard.shard_id, clip_id)
        for shard in snapshot.manifest.shards
        for clip_id in shard.clip_ids
        if clip_id in ended and ended[clip_id]["status"] == "accepted"
    )
    return [
        PlannedClip(
            clip_id=clip_id,
            split=ended[clip_id].get("split") or "train",
            shard_id=shard_id,
            number=number,
            key=content_hash("export", clip_id, sorted(sha_of.get(shard_id, ())), length=16),
        )
        for number, (shard_id, clip_id) in enumerate(itertools.islice(accepted, options.limit), start=1)
    ]


def by_shard(clips: Iterable[PlannedClip]) -> Iterator[list[PlannedClip]]:
    """Clips whose rows lie in the same files, together."""
    for _, group in itertools.groupby(clips, key=lambda clip: clip.shard_id):
        yield list(group)


@dataclass
class Skipped:
    """The clips that are left out, and why."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # clip_id, reason, detail

    @contextmanager
    def judged(self, clip_id: str) -> Iterator[None]:
        """Around one clip's work: a clip that cannot be exported is noted, and the others go on."""
        try:
            yield
        except (RowFailed, RowRejected) as error:
            self.rows.append((clip_id, error.reason, error.detail))

    @property
    def ids(self) -> set[str]:
        return {clip_id for clip_id, *_ in self.rows}

    def told(self, n_written: int, first: str) -> str:
        """'12 clips, 3 left out (skipped.csv: 2 missing_file, 1 too_short): out/metadata.csv'

        Raises SnapshotError if no clip was written.
        """
        ways = ", ".join(f"{n} {reason}" for reason, n in sorted(Counter(reason for _, reason, _ in self.rows).items()))
        if not n_written:
            clip_id, reason, detail = self.rows[0]
            raise SnapshotError(f"no clip can be exported ({ways}), such as {clip_id}: {reason}: {detail}")
        left_out = f", {len(self.rows)} left out ({SKIPPED}: {ways})" if self.rows else ""
        return f"{n_written} clip{'' if n_written == 1 else 's'}{left_out}: {first}"

    @property
    def csv(self) -> bytes:
        return csv_of(("clip_id", "reason", "detail"), self.rows)


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file in UTF-8. Lines end with \\r\\n: with \\n alone, a \\r in a text would go unquoted."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(columns)
    writer.writerows(rows)
    return sink.getvalue().encode()


# --- The folder --------------------------------------------------------------------------------


@dataclass
class _Unit:
    paths: list[str]
    key: str | None = None  # None: begun, and not finished
    note: dict[str, Any] = field(default_factory=dict)


@contextmanager
def open_export(folder: Path, layout: str) -> Iterator[ExportFolder]:
    """A folder that is empty, or holds an export in the same layout, which is gone on with.

    Raises SnapshotError if another export is writing to it, or it holds another layout.
    """
    state = folder / STATE
    state.mkdir(parents=True, exist_ok=True)
    lock = os.open(state, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield ExportFolder(folder, layout)
    except BlockingIOError as error:
        raise SnapshotError(
            f"{folder}: another export is writing there; wait for it, or give another folder"
        ) from error
    finally:
        os.close(lock)


class ExportFolder:
    """A folder while an export writes it: what is its own there, and what is finished."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.folder = folder
        self._layout, self._journal, self._aside = layout, folder / STATE / "journal.jsonl", folder / STATE / "aside"
        self._units = self._read_journal()
        self._seen: set[str] = set()
        shutil.rmtree(self._aside, ignore_errors=True)
        self._remove_unit(_LISTS)  # they name what may change now
        self._write_journal()  # without the line that a kill cut off

    def known(self, unit: str, key: str) -> dict[str, Any] | None:
        """What was noted of a finished unit with this key whose files are still there; None if it is to be made."""
        found = self._units.get(unit)
        if found is None or found.key != key or not all(os.path.lexists(self.folder / path) for path in found.paths):
            return None
        self._seen.add(unit)
        return found.note

    @contextmanager
    def unit(self, unit: str, key: str, paths: Sequence[str], note: Mapping[str, Any] | None = None) -> Iterator[Path]:
        """Make a unit's files or folders: what is written below the given folder appears when the block ends.

        paths: what becomes the unit's, relative to the folder; their parents are there
        note:  may be filled within the block
        Raises SnapshotError for a path that leads out, or is there and no earlier export's.
        """
        before = self._units.get(unit, _Unit([])).paths
        for path in paths:
            _require_inside(path)
            if path not in before and os.path.lexists(self.folder / path):
                raise SnapshotError(
                    f"{self.folder / path} is there, and not of an earlier export; give an empty folder"
                )
        self._units[unit] = _Unit(sorted({*paths, *before}))
        self._log({"begin": unit, "paths": self._units[unit].paths})
        shutil.rmtree(self._aside, ignore_errors=True)
        for path in paths:
            (self._aside / path).parent.mkdir(parents=True, exist_ok=True)
        yield self._aside
        for path in self._units[unit].paths:
            self._remove(path)
        for path in paths:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._aside / path, self.folder / path)
        self._units[unit] = _Unit(sorted(paths), key, dict(note or {}))
        self._log(self._done_line(unit))
        self._seen.add(unit)

    @contextmanager
    def lists(self, paths: Sequence[str]) -> Iterator[Path]:
        """Write the files that name all others, below the given folder, and end the export.

        What an earlier export left and this one does not have is removed first.
        """
        for unit in [*self._units]:
            if unit not in self._seen:
                self._remove_unit(unit)
        with self.unit(_LISTS, _LISTS, paths) as aside:
            yield aside
        shutil.rmtree(self._aside)
        self._write_journal()

    # --- Its files -----------------------------------------------------------------------------

    def _remove_unit(self, unit: str) -> None:
        found = self._units.pop(unit, None)
        for path in found.paths if found else ():
            self._remove(path)
            for parent in PurePosixPath(path).parents[:-1]:
                try:
                    (self.folder / parent).rmdir()
                except OSError:  # it holds others, or is not there
                    break

    def _remove(self, path: str) -> None:
        target = self.folder / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    # --- The journal ---------------------------------------------------------------------------

    def _read_journal(self) -> dict[str, _Unit]:
        units: dict[str, _Unit] = {}
        try:
            first, *texts = self._journal.read_text().splitlines()
        except FileNotFoundError:
            return units
        if (layout := json.loads(first)["layout"]) != self._layout:
            raise SnapshotError(f"{self.folder} holds an export in the layout {layout}; give another folder")
        for text in texts:
            try:
                line = json.loads(text)
            except ValueError:  # a kill cut it off
                continue
            for path in line["paths"]:
                _require_inside(path)
            if "begin" in line:
                units[line["begin"]] = _Unit(line["paths"])
            else:
                units[line["done"]] = _Unit(line["paths"], line["key"], line["note"])
        return units

    def _write_journal(self) -> None:
        """The same units, the same bytes."""
        begun = [{"begin": name, "paths": unit.paths} for name, unit in sorted(self._units.items()) if unit.key is None]
        done = [self._done_line(name) for name, unit in sorted(self._units.items()) if unit.key is not None]
        lines: list[dict[str, Any]] = [{"layout": self._layout}, *begun, *done]
        write_atomic(self._journal, b"".join(map(_line, lines)))

    def _done_line(self, name: str) -> dict[str, Any]:
        unit = self._units[name]
        return {"done": name, "key": unit.key, "paths": unit.paths, "note": unit.note}

    def _log(self, line: Mapping[str, Any]) -> None:
        with self._journal.open("ab") as file:
            file.write(_line(line))


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _require_inside(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or parts[0] == STATE:
        raise SnapshotError(f"{path!r} is no name for a file of an export")
