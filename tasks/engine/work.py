"""The folder of everything that is computed on the way to a snapshot, by content.

work/rows/<stage>/<k[:2]>/<key>.json         one row's result, or the outcome that ended it
work/blobs/<s[:2]>/<sha256>                  the bytes of results (tasks/engine/blobs.py)
work/usage/<stage>/<k[:2]>/<key>.<try>.json  what a try at it asked of model servers; tries that failed
                                             or were killed are paid for, too
work/device/<stage>/<shard_id>-<chain>.<try>.json    how long a run of the stage over the shard used its device
work/shards/<shard_id>/<n>-<chain>.json      the shard's rows after n stages: the reference that crosses
                                             task borders
work/so_far/first.json                       the rows of a run that have ended (tasks/engine/so_far.py)
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from schemas.outcome import Outcome, RowFailed, ServiceDown
from schemas.record import StageResult
from schemas.storage import AnyPath, DataPath, at_once, is_full_disk, list_files, read_whole, write_atomic
from schemas.usage import DeviceTime, Meter, ModelUsage
from tasks.engine.blobs import BlobLost, Blobs
from tasks.engine.inputs import Inputs
from tasks.engine.shards import P, Row, Shard

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=StageResult)

_USAGE = TypeAdapter(list[ModelUsage])


class Made(BaseModel, Generic[R]):
    """What a stage made of a row: a result, or the outcome that ended it with what was seen till then."""

    result: R | None = None
    outcome: Outcome | None = None


class Work(BaseModel):
    """The folder of everything that is computed on the way to a snapshot, and where the inputs lie.

    Deleting the folder loses only time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: DataPath
    inputs: Inputs

    def result_path(self, record: type[StageResult], key: str) -> AnyPath:
        return self.root / "rows" / record.stage_name / key[:2] / f"{key}.json"

    def save(self, record: type[R], key: str, made: Made[R]) -> None:
        """Store what the record's stage made; its bytes first, which the row's JSON refers to."""
        blobs = Blobs(self.root / "blobs")
        text = made.model_dump_json(context=blobs)
        blobs.write()
        write_atomic(self.result_path(record, key), text.encode())

    def load(self, record: type[R], key: str, *, read_blobs: bool = True) -> Made[R] | None:
        """What the record's stage made under this key, or None if nothing (or nothing whole) is there.

        read_blobs: False leaves it at whether they are there
        """
        blobs = Blobs(self.root / "blobs")
        made = self._read(record, key, blobs)
        try:
            blobs.check(read=read_blobs)
        except BlobLost as error:
            logger.warning("%s is made again: %s", self.result_path(record, key), error.what)
            return None
        return made

    def result(self, row: Row[Any], record: type[R]) -> R:
        """What an earlier stage made of this row; its bytes are read when they are looked at.

        Raises RowFailed("result_missing").
        """
        key = row.made[record.stage_name]
        made = self._read(record, key, Blobs(self.root / "blobs"))
        if made is None or made.result is None:
            path = self.result_path(record, key)
            raise RowFailed("result_missing", f"{path} is gone; run again", retryable=True)
        return made.result

    def find_result(self, row: Row[Any], record: type[R]) -> R | None:
        """As `result`; the evidence of a stage that ended the row, and None if the row never came there."""
        key = row.made.get(record.stage_name)
        if key is None:
            return None
        made = self._read(record, key, Blobs(self.root / "blobs"))
        if made is None:
            raise FileNotFoundError(f"{self.result_path(record, key)} is gone; run the shard again")
        return made.result

    def _read(self, record: type[R], key: str, blobs: Blobs) -> Made[R] | None:
        """What a row's JSON says, or None. blobs: learns what it refers to"""
        path = self.result_path(record, key)
        try:
            return Made[record].model_validate_json(read_whole(path), context=blobs)  # type: ignore[valid-type]
        except FileNotFoundError:
            return None
        except ValidationError as error:
            # A power cut can leave an empty file behind a finished rename.
            logger.warning("%s cannot be read and is made again (%d errors)", path, error.error_count())
            return None

    def meter(self, stage: str, key: str) -> Meter:
        """Counts what a try at a result asks of model servers, and stores it from call to call."""
        # Tries at the same result may run at the same time: each has a file of its own.
        path = self.root / "usage" / stage / key[:2] / f"{key}.{uuid4().hex}.json"
        return Meter(keep=lambda spent: write_atomic(path, _USAGE.dump_json(spent)))

    def usage(self, stage: str, keys: Collection[str]) -> dict[str, list[ModelUsage]]:
        """What the tries at some results asked of model servers, {key: try after try}; no key that asked nothing."""
        # Listed as a whole and read side by side: a look for each key alone takes minutes on object storage.
        paths = [path for path in list_files(self.root / "usage" / stage) if _key_of(path) in keys]
        found: dict[str, list[ModelUsage]] = {}
        for path, spent in zip(paths, at_once(self.root, _read_usage, paths), strict=True):
            found.setdefault(_key_of(path), []).extend(spent)
        return found

    def keep_device_time(self, stage: str, shard_id: str, chain: str, taken: DeviceTime) -> None:
        """chain: of the shard after the stage"""
        path = self.root / "device" / stage / f"{shard_id}-{chain}.{uuid4().hex}.json"
        write_atomic(path, taken.to_json())

    def device_times(self, stage: str, chains: Mapping[str, str]) -> dict[str, DeviceTime]:
        """How long the stage used its device for some shards, {shard_id: all its runs}; no shard without a device.

        chains: {shard_id: the shard's chain after the stage}
        """
        shards = {f"{shard_id}-{chain}": shard_id for shard_id, chain in chains.items()}
        paths = [path for path in list_files(self.root / "device" / stage) if _key_of(path) in shards]
        found: dict[str, DeviceTime] = {}
        for path, taken in zip(paths, at_once(self.root, _read_device_time, paths), strict=True):
            if taken is not None:
                shard_id = shards[_key_of(path)]
                found[shard_id] = found[shard_id] + taken if shard_id in found else taken
        return found

    def shard_path(self, shard_id: str, name: str) -> AnyPath:
        return self.root / "shards" / shard_id / name

    def state_path(self, shard_id: str, step: int, chain: str) -> AnyPath:
        """Where a shard's state lies after so many stages, whose chain that is; after none, its plan."""
        return self.shard_path(shard_id, f"{step}-{chain or 'planned'}.json")

    def save_shard(self, shard: Shard[P]) -> AnyPath:
        path = self.state_path(shard.shard_id, shard.step, shard.chain)
        with unwritable_is_a_service_down("shards", self.root):
            write_atomic(path, shard.model_dump_json().encode())
        return path


def _key_of(path: AnyPath) -> str:
    """What a file of usage or of a device's time belongs to."""
    return path.name.split(".")[0]


def _read_usage(path: AnyPath) -> list[ModelUsage]:
    try:
        return _USAGE.validate_json(read_whole(path))
    except ValidationError as error:
        logger.warning("%s cannot be read and is not counted (%d errors)", path, error.error_count())
        return []


def _read_device_time(path: AnyPath) -> DeviceTime | None:
    try:
        return DeviceTime.from_json(read_whole(path))
    except ValidationError as error:
        logger.warning("%s cannot be read and is not counted (%d errors)", path, error.error_count())
        return None


# --- Where nothing can be written -----------------------------------------------------------------

_ANOTHER = "or take another root (--root)"
_REMEDIES = {
    errno.ENOSPC: "Make room there and run it again.",
    errno.EDQUOT: "Make room there (it is a quota that is used up) and run it again.",
    errno.EROFS: f"It is mounted read-only: mount it for writing, {_ANOTHER}.",
    errno.EACCES: f"Its owner or mode keeps user {os.geteuid()} out: change them, {_ANOTHER}.",
    errno.EPERM: f"Its owner or mode keeps user {os.geteuid()} out: change them, {_ANOTHER}.",
    errno.ENOTDIR: f"A file has the name of a folder: move it away, {_ANOTHER}.",
    errno.EEXIST: f"A file has the name of a folder: move it away, {_ANOTHER}.",
}


def is_unwritable(error: BaseException, root: AnyPath) -> bool:
    """Does an error say that no row below this root can be kept: a full disk, or a root that is another user's?"""
    if is_full_disk(error):
        return True
    if not isinstance(error, OSError) or error.errno not in _REMEDIES or not isinstance(root, Path):
        return False
    if error.filename is None:
        return False
    place = Path(os.fsdecode(error.filename))
    return place.is_relative_to(root) or root.is_relative_to(place)


@contextmanager
def unwritable_is_a_service_down(stage: str, root: AnyPath) -> Iterator[None]:
    """Around whatever writes below `root`: a disk that is full, or refuses, is told with what to do about it."""
    try:
        yield
    except OSError as error:
        if not is_unwritable(error, root):
            raise
        place = root if isinstance(root, Path) else tempfile.gettempdir()  # a store has no disk that fills
        if not is_full_disk(error):
            place = error.filename
        remedy = _REMEDIES[error.errno or 0]
        raise ServiceDown(f"{stage}: cannot write to {place}: {error.strerror}. {remedy}") from error


def require_writable(root: AnyPath, option: str = "--root") -> None:
    """Look before a run starts whether it can write below its root; makes the root. Raises ServiceDown.

    option: what names it
    A store is not asked: the first row is.
    """
    if not isinstance(root, Path):
        return
    with unwritable_is_a_service_down(option, root):
        root.mkdir(parents=True, exist_ok=True)
        for pattern in (".", "snapshots", "reports", "work", "work/*", "work/rows/*"):
            for folder in root.glob(pattern) if "*" in pattern else [root / pattern]:
                _try_to_write(folder)


def _try_to_write(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except FileNotFoundError:
        return  # the run makes it
    except OSError as error:
        error.filename = str(folder)  # not the temporary file's
        raise
