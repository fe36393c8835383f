"""docker/nginx.conf in front of a server on loopback, with a certificate of the test's own.

    with Proxy(port_of_the_server) as proxy:
        proxy.url, proxy.certificate

Needs nginx and openssl: `apt-get install nginx-light openssl`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.compose import DOCKER
from tests.support.other_user import as_other_user
from tests.support.prefect_stack import free_port

START_S, STOP_S = 30.0, 15.0
SBIN = "/usr/sbin"  # on the PATH of root alone


class Proxy:
    """nginx; started and ended as a context manager. Raises FileNotFoundError if it is not installed."""

    def __init__(self, server_port: int) -> None:
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SBIN}")
        if nginx is None:
            raise FileNotFoundError("no nginx: apt-get install nginx-light, or set TRIPTYCH_WITHOUT_NGINX=1")
        # Not under pytest's own folder, which no other user may enter.
        self._folder = folder = Path(tempfile.mkdtemp(prefix="triptych-proxy-"))
        self.port, self.certificate = free_port(), folder / "fullchain.pem"
        self._make_certificate()
        text = (DOCKER / "nginx.conf").read_text()
        for there, here in {
            "/tmp/": f"{folder}/",
            "/certificate/": f"{folder}/",
            "http://server:4200": f"http://127.0.0.1:{server_port}",
            "listen 8443 ssl": f"listen 127.0.0.1:{self.port} ssl",
        }.items():
            assert there in text, there
            text = text.replace(there, here)
        (folder / "nginx.conf").write_text(text)
        self._command = [nginx, "-e", "stderr", "-c", str(folder / "nginx.conf")]
        # As root it would change to a user of its own, unlike in the container.
        self._as_other_user = as_other_user(folder, *folder.iterdir())
        self._nginx: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def check(self) -> str:
        """What `nginx -t` says of the configuration."""
        return subprocess.run([*self._command, "-t"], capture_output=True, text=True, **self._as_other_user).stderr

    def __enter__(self) -> Proxy:
        self._nginx = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, **self._as_other_user)
        give_up = time.monotonic() + START_S
        while True:
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self._nginx.poll() is not None or time.monotonic() > give_up:
                said = self.check()
                self.__exit__()
                raise AssertionError(f"nginx does not start: {said}")
            time.sleep(0.1)

    def __exit__(self, *exc: object) -> None:
        assert self._nginx is not None
        self._nginx.terminate()
        self._nginx.wait(STOP_S)
        shutil.rmtree(self._folder)

    def _make_certificate(self) -> None:
        name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        files = ["-keyout", self._folder / "privkey.pem", "-out", self.certificate]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", *name, *files]
        subprocess.run(command, check=True, capture_output=True)
