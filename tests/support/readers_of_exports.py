"""Readers of exported folders, as those who train on them would write them: from the layouts' descriptions alone.

read_matrix(folder)        MATRIX's trainer: videos, a mask a frame and id, an ID map, prompts with <idN>
read_spatialalign(folder)  SpatialAlign's loader: pairs of latents by rewards
read_kinemask(folder)      videos, velocity masks and captions of a split
read_youtube_vis(folder)   frames and masks of a split
read_webdataset(folder)    samples of a split, tar by tar

Each fails on what its layout does not allow. They share nothing with the writers: masks are decoded by pycocotools,
videos by PyAV, pictures by OpenCV.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import tarfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from pycocotools import mask as coco


class Film(NamedTuple):
    """A decoded video."""

    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    fps: Fraction


def read_film(data: bytes) -> Film:
    with av.open(io.BytesIO(data)) as container:
        (stream,) = container.streams.video
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        assert stream.average_rate is not None
        return Film(frames, stream.average_rate)


def decode_rle(rle: dict[str, Any] | None, height: int, width: int) -> np.ndarray:
    """(H, W) bool; None is an empty mask."""
    if rle is None:
        return np.zeros((height, width), bool)
    assert rle["size"] == [height, width]
    return np.asarray(coco.decode(rle), bool)


# --- MATRIX --------------------------------------------------------------------------------------


class MatrixSample(NamedTuple):
    video: str
    prompt: str
    film: Film
    masks: dict[int, np.ndarray]  # {1: (T, H, W) bool, ...}
    id_map: np.ndarray  # (H, W, 3) uint8 RGB


def read_matrix(folder: Path) -> list[MatrixSample]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert list(rows[0]) == ["video", "prompt"]
    return [_matrix_sample(folder, row["video"], row["prompt"]) for row in rows]


def _matrix_sample(folder: Path, video: str, prompt: str) -> MatrixSample:
    assert re.fullmatch(r"\d{6}\.mp4", video)
    film = read_film((folder / "videos" / video).read_bytes())
    n_frames, height, width, _ = film.frames.shape
    assert (n_frames % 4, film.fps, width / 16 % 1, height / 16 % 1) == (1, 16, 0, 0)
    masks_of = folder / "mask_annotation" / video.removesuffix(".mp4")
    numbers = [n for n in range(1, 6) if (masks_of / f"<id{n}>").is_dir()]
    assert numbers == [*range(1, len(numbers) + 1)], "ids are contiguous"
    assert {path.name for path in masks_of.iterdir()} == {*(f"<id{n}>" for n in numbers), "merged"}
    assert sorted({*re.findall(r"<id(\d+)>", prompt)}) == [str(n) for n in numbers], "each id is named, and no other"
    masks = {}
    for number in numbers:
        files = sorted(path.name for path in (masks_of / f"<id{number}>").iterdir())
        assert files == [f"{t:03d}.png" for t in range(n_frames)], "as many masks as frames"
        read = np.stack([_picture(masks_of / f"<id{number}>" / name, cv2.IMREAD_UNCHANGED) for name in files])
        assert read.shape == (n_frames, height, width)
        assert set(np.unique(read)) <= {0, 255}
        masks[number] = read == 255
    bgr = _picture(masks_of / "merged" / "000.png", cv2.IMREAD_COLOR)
    assert bgr.shape == (height, width, 3)
    return MatrixSample(video, prompt, film, masks, bgr[..., ::-1])


def _picture(path: Path, flags: int) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    assert picture is not None, path
    return np.asarray(picture)


# --- SpatialAlign --------------------------------------------------------------------------------


class PreferenceSample(NamedTuple):
    prompt_id: str
    rewards: list[int]  # 1 winner, 0 loser, -100 invalid, one a seed
    latents: Any  # (N, C, F, H, W)
    context: Any  # (1, L, D)


def read_spatialalign(folder: Path) -> list[PreferenceSample]:
    """The prompts that have a winner and a loser, as the authors' loader takes them."""
    import pandas
    import torch

    metadata = pandas.read_csv(folder / "metadata.csv")
    samples = []
    for row in metadata.to_dict(orient="records"):
        rewards = [1 if reward >= 0.7 else 0 if reward >= -1 else -100 for reward in ast.literal_eval(row["reward"])]
        path = folder / "tensors" / f"{row['prompt_id']}.tensors.pth"
        if not {0, 1} <= set(rewards) or not path.exists():
            continue
        data = torch.load(path, weights_only=True, map_location="cpu")
        assert set(data) == {"prompt_id", "latents_data", "prompt_emb"}
        assert set(data["prompt_emb"]) == {"context"}
        (again,) = metadata[metadata["prompt_id"] == data["prompt_id"]].to_dict(orient="records")
        assert again["prompt"] == row["prompt"]
        latents, context = data["latents_data"], data["prompt_emb"]["context"]
        assert (latents.ndim, context.ndim, len(context), len(latents)) == (5, 3, 1, len(rewards))
        samples.append(PreferenceSample(row["prompt_id"], rewards, latents, context))
    return samples


# --- KineMask ------------------------------------------------------------------------------------


class ControlSample(NamedTuple):
    caption: str
    film: Film
    velocity_mps: np.ndarray  # (T, H, W, 3) float32
    instances: np.ndarray  # (T, H, W) uint8
    collision_frames: list[int]


def read_kinemask(folder: Path) -> dict[str, ControlSample]:
    """{clip: sample} of a split's folder."""
    samples = {}
    for line in (folder / "metadata.jsonl").read_text().splitlines():
        known = json.loads(line)
        film = read_film((folder / known["video"]).read_bytes())
        with np.load(folder / known["mask"], allow_pickle=False) as arrays:
            velocity, instances = arrays["velocity_mps"], arrays["instances"]
        assert velocity.dtype == np.float32
        assert instances.dtype == np.uint8
        assert velocity.shape == film.frames.shape
        assert instances.shape == film.frames.shape[:3]
        assert (len(film.frames), film.fps) == (known["n_frames"], known["fps"])
        stem = Path(known["video"]).stem
        assert (folder / "captions" / f"{stem}.txt").read_text() == known["caption"] + "\n"
        samples[stem] = ControlSample(known["caption"], film, velocity, instances, known["collision_frames"])
    for kind in ("videos", "masks", "captions"):
        assert {path.stem for path in (folder / kind).iterdir()} == set(samples)
    return samples


# --- YouTube-VIS ---------------------------------------------------------------------------------


class VisTrack(NamedTuple):
    category: str
    masks: np.ndarray  # (T, H, W) bool


class VisVideo(NamedTuple):
    clip_id: str
    pictures: np.ndarray  # (T, H, W, 3) uint8 RGB
    tracks: list[VisTrack]


def read_youtube_vis(folder: Path) -> list[VisVideo]:
    """The videos of a split's folder."""
    told = json.loads((folder / "instances.json").read_text())
    name_of = {category["id"]: category["name"] for category in told["categories"]}
    assert len(name_of) == len(told["categories"]) == len(set(name_of.values()))
    videos = {}
    for video in told["videos"]:
        assert len(video["file_names"]) == video["length"]
        pictures = np.stack(
            [_picture(folder / "JPEGImages" / name, cv2.IMREAD_COLOR)[..., ::-1] for name in video["file_names"]]
        )
        assert pictures.shape == (video["length"], video["height"], video["width"], 3)
        videos[video["id"]] = VisVideo(video["clip_id"], pictures, [])
    assert len({annotation["id"] for annotation in told["annotations"]}) == len(told["annotations"])
    for annotation in told["annotations"]:
        video = videos[annotation["video_id"]]
        n_frames, height, width, _ = video.pictures.shape
        masks = np.stack([decode_rle(rle, height, width) for rle in annotation["segmentations"]])
        assert len(masks) == len(annotation["bboxes"]) == len(annotation["areas"]) == n_frames
        for mask, rle, box, area in zip(
            masks, annotation["segmentations"], annotation["bboxes"], annotation["areas"], strict=True
        ):
            assert (rle is None) == (box is None) == (area is None) == (not mask.any())
            if box is not None:
                ys, xs = np.nonzero(mask)
                left, top = xs.min(), ys.min()
                assert box == [left, top, xs.max() + 1 - left, ys.max() + 1 - top]
                assert area == mask.sum()
        assert annotation["iscrowd"] == 0
        video.tracks.append(VisTrack(name_of[annotation["category_id"]], masks))
    return [*videos.values()]


# --- WebDataset ----------------------------------------------------------------------------------


class WebSample(NamedTuple):
    key: str
    film: Film
    known: dict[str, Any]
    masks: dict[str, np.ndarray]  # {instance_id: (T, H, W) bool}


def read_webdataset(folder: Path, split: str) -> Iterator[WebSample]:
    """As WebDataset reads: members with the same name up to the first dot, one after the other, are a sample."""
    shards = sorted(folder.glob(f"{split}-*.tar"))
    assert [path.name for path in shards] == [f"{split}-{n:06d}.tar" for n in range(len(shards))]
    for path in shards:
        with tarfile.open(path) as tar:
            members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
        for (video, film), (known, text) in zip(members[::2], members[1::2], strict=True):
            key = video.partition(".")[0]
            assert (video, known) == (f"{key}.mp4", f"{key}.json")
            yield _web_sample(key, read_film(film), json.loads(text), split)


def _web_sample(key: str, film: Film, known: dict[str, Any], split: str) -> WebSample:
    assert (known["split"], known["n_frames"]) == (split, len(film.frames))
    height, width = known["height"], known["width"]
    assert film.frames.shape[1:3] == (height + height % 2, width + width % 2)
    masks = {
        instance["instance_id"]: np.stack([decode_rle(rle, height, width) for rle in instance["segmentations"]])
        for instance in known["instances"]
    }
    assert all(len(mask) == known["n_frames"] for mask in masks.values())
    assert {i[role] for i in known["interactions"] for role in ("subject_id", "object_id")} <= set(masks)
    return WebSample(key, film, known, masks)
