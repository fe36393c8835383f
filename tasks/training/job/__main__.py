"""python -m tasks.training.job RUN_FOLDER, alone or under torchrun: 0 done, 75 "go on later", anything else failed."""

import sys

from tasks.training.job.stopping import GO_ON_LATER, Stopping


def main(folder: str) -> int:
    stopping = Stopping.installed()  # before torch is imported, which takes seconds in which a signal would kill
    from pathlib import Path

    from schemas.outcome import ServiceDown
    from tasks.engine.snapshots import SnapshotError
    from tasks.training.job.failures import JobError, OtherProcessFailed
    from tasks.training.job.loop import Stopped, train

    try:
        train(Path(folder), stopping)
    except Stopped as stopped:
        if stopped.told_by_main:
            print(stopped, flush=True)
        return GO_ON_LATER
    except OtherProcessFailed:
        return 1  # it says why
    except (JobError, ServiceDown, SnapshotError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tasks.training.job RUN_FOLDER")
    sys.exit(main(sys.argv[1]))
