"""One process of a job under torchrun, which tells its launcher no exit status but 0 and 1.

    torchrun ... -m tasks.training.rank tasks.training.job RUN_FOLDER

The status that the module ends with, and the size of the log by then, is written to the folder that
TRIPTYCH_RANK_STATUSES names: tasks/training/launch.py reads there whether all processes say "go on later".
"""

import os
import runpy
import sys
import traceback
from pathlib import Path


def main() -> None:
    del sys.argv[0]  # the module's own name takes its place
    status = 1
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is: here, what torchrun says of it comes after
        traceback.print_exc()
    sys.stdout.flush()
    told = Path(os.environ["TRIPTYCH_RANK_STATUSES"]) / os.environ.get("RANK", "0")
    aside = told.with_name(f".{told.name}")
    aside.write_text(f"{status} {os.fstat(1).st_size}")
    aside.rename(told)
    sys.exit(status)


if __name__ == "__main__":
    main()
