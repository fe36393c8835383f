"""The README's first command, as a user runs it: from nothing to a report against the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


@pytest.mark.slow
def test_the_demo_finds_what_was_drawn(tmp_path: Path) -> None:
    run = "from flows.commands.cli import main; main()"  # what `triptych` is
    command = [sys.executable, "-c", run, "demo", "--folder", str(tmp_path / "a demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = re.search(r"mean IoU ([\d.]+), where visible ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) > 0.9
    assert float(found[2]) > 0.9
    assert "cuts: precision 1.000, recall 1.000" in done.stdout
    met, expected = map(int, re.search(r"as expected: (\d+) of (\d+)", done.stdout).groups())  # type: ignore[union-attr]
    assert met == expected > 20
    page = Path(unquote(urlsplit(done.stdout.strip().splitlines()[-1]).path))
    assert "Against the truth" in page.read_text()
