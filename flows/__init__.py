"""The pipelines: one file a flow, with its config."""

import os

# Before Prefect is imported: its temporary server may start slowly on a small machine, and is to call nobody.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client, the model hub
