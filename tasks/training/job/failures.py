"""How a job fails for reasons that a person can act on."""


class JobError(RuntimeError):
    """The job cannot go on, and says what to do."""


class OtherProcessFailed(Exception):
    """Another process of the job failed, and says why."""
