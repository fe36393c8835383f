"""Signals that ask a job to save and end.

stopping = Stopping.installed()    from here on SIGTERM, SIGINT and SIGHUP kill nothing
stopping.asked                     the loop looks after every update
"""

import signal

GO_ON_LATER = 75  # exit status (sysexits.h: EX_TEMPFAIL)


class Stopping:
    """Whether this process was told to stop. A second signal changes nothing: saving takes the time it takes."""

    asked = False

    @classmethod
    def installed(cls) -> "Stopping":
        stopping = cls()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, stopping._ask)
        return stopping

    def _ask(self, *_: object) -> None:
        self.asked = True
