"""Make the roots of tests/unchanged/roots.tar.xz: one small, finished run of each flow.

    python -m tests.unchanged.make_roots

tests/test_unchanged.py runs the same commands again over them: nothing may be computed, and every byte that is written
must be the same. Only a change that is meant to change answers makes the archive anew; it bumps the stage's version and
says why in its commit. The archive holds the input videos too: an encoder may give other bytes on another processor.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import av
import numpy as np

ARCHIVE = Path(__file__).with_name("roots.tar.xz")
REPOSITORY = Path(__file__).resolve().parents[2]

# Options of each flow's command, run in the folder of that name.
RUNS: dict[str, list[str]] = {
    "matrix11k": [
        *["--manifest", "input/manifest.jsonl", "--root", ".", "--shard-size", "3"],
        *["--ground.grounding", "colour", "--ground.vlm", "rules", "--ground.n-frames", "2"],
    ],
    "kinemask": [
        *["--root", ".", "--n-train", "1", "--n-test", "1", "--shard-size", "2"],
        *["--scenes.width", "96", "--scenes.height", "64", "--scenes.fps", "8", "--scenes.n-frames", "12"],
    ],
    "dsr": [
        *["--root", ".", "--grammar.n-train", "2", "--grammar.n-test", "1", "--seeds-train", "3", "--seeds-test", "1"],
        *["--generate.width", "208", "--generate.height", "128", "--generate.n-frames", "24", "--generate.fps", "8"],
        *["--ground.n-frames", "4", "--shard-size", "3"],
    ],
}

WIDTH, HEIGHT, FPS, N_FRAMES = 160, 112, 12, 12
RGB = {"red": (214, 34, 38), "green": (28, 146, 62), "blue": (30, 84, 206), "yellow": (250, 212, 24)}
# Accepted, two shots of which both are accepted, rejected by its caption, rejected by grounding.
CAPTIONS = {
    "plain.mp4": "A yellow dog carries a red ball.",
    "cut.mp4": "A green dog carries a red ball.",
    "quiet.mp4": "A quiet green valley under a pale sky.",
    "no-cup.mp4": "A blue dog carries a red cup.",
}
SHOTS = {
    "plain.mp4": [("yellow", "red")],
    "cut.mp4": [("green", "red"), ("green", "red")],
    "quiet.mp4": [("blue", "red")],
    "no-cup.mp4": [("blue", "yellow")],
}


def draw_input(folder: Path) -> None:
    """A dog and a ball that move to the right, a second a shot; a line that names no video."""
    folder.mkdir(parents=True)
    for name, shots in SHOTS.items():
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.options = {"crf": "16", "threads": "1"}
            for number, (dog, ball) in enumerate(shots):
                for t in range(N_FRAMES):
                    frame = np.full(
                        (HEIGHT, WIDTH, 3), (205, 198, 182) if number % 2 == 0 else (104, 112, 118), np.uint8
                    )
                    x = 40 + 4 * t
                    frame[50:74, x - 26 : x + 12] = RGB[dog]
                    frame[74:92, x - 24 : x - 17] = frame[74:92, x + 4 : x + 11] = RGB[dog]
                    ys, xs = np.ogrid[:HEIGHT, :WIDTH]
                    frame[(ys - 52) ** 2 + (xs - x - 26) ** 2 <= 100] = RGB[ball]
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    lines = [{"video": name, "caption": caption} for name, caption in CAPTIONS.items()]
    lines.append({"video": "gone.mp4", "caption": "A boy kicks a ball."})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_roots(folder: Path) -> None:
    for name, options in RUNS.items():
        (folder / name).mkdir()
        if name == "matrix11k":
            draw_input(folder / name / "input")
        command = [sys.executable, "-m", f"flows.curate_{name}", *options, "--no-report"]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        subprocess.run(command, cwd=folder / name, env=environment, check=True)


def pack(folder: Path, archive: Path) -> None:
    """The folder as an archive that holds no time, no owner and no path of this machine."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = path.stat().st_size
                packed.addfile(entry, io.BytesIO(path.read_bytes()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_roots(Path(folder))
        pack(Path(folder), ARCHIVE)
    print(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
