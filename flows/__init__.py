"""The pipelines: one file a flow, with its config."""

import os
import sys

# Before Prefect is imported: neither its server nor its client is to call anybody.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client, the model hub

# Python's name for a program until it has found it: `python -m flows.curate_dsr` is a command, and its imports take
# seconds in which somebody may press Ctrl-C.
if sys.argv[:1] == ["-m"]:
    from flows.engine.process import begin_command

    begin_command()
