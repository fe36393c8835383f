"""What a model trained on kinemask is given for a picture: velocity masks from arrows, and a prompt (KineMask 3.3).

triptych condition --image photo.jpg --mask mug.png --arrow 120,200,260,180 --speed 1.2 --out folder
    --mask, --arrow, --speed and --name once for each object that is set in motion

triptych condition ... --name "blue mug" --scene "on a wooden table" \\
    --outcome openai --examples data/snapshots/kinemask-81b2c3d4e5f6
    a VLM (TRIPTYCH_VLM_BASE_URL, _MODEL, _API_KEY) predicts what happens, shown clips of the snapshot

The folder then holds velocity_mask.npz (`velocity_mps` in m/s and `normalised` to [-1, 1], both (T, H, W, 3) float32,
first frame only), prompt.txt, overview.png and conditioning.json.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import math
import sys

import numpy as np
from pydantic import ValidationError

from schemas.outcome import RowFailed, ServiceDown
from schemas.provenance import MadeBy
from schemas.push import Push
from schemas.scene import Camera
from schemas.storage import AnyPath, parse_path, write_atomic
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.outcome_predictors import direction_in_words, load_backend
from tasks.datasets.kinemask.condition_image import (
    N_FRAMES,
    Conditioning,
    Point,
    PushedObject,
    UnusableInput,
    arrow_velocity,
    first_frame_masks,
    overview,
    read_mask,
    read_picture,
)
from tasks.datasets.kinemask.examples import in_context_examples
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.png import encode_png
from tasks.media.velocity_masks import V_MAX_MPS, normalised

MAX_MASK_BYTES = 2**31  # 49 frames of 2400 x 1500


def main(arguments: list[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    asked = _parser().parse_args(arguments)
    try:
        condition_image(asked)
    except (UnusableInput, SnapshotError, RowFailed, ServiceDown) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:
        sys.exit(f"{error.filename or asked.out}: {error.strerror or error}")
    print(f"{asked.out}: velocity_mask.npz, prompt.txt, overview.png, conditioning.json")


def condition_image(asked: argparse.Namespace) -> None:
    """Nothing is written before everything is known. Raises UnusableInput, RowFailed, ServiceDown, OSError."""
    data = asked.image.read_bytes()
    picture = read_picture(data, asked.image.name)
    height, width = picture.shape[:2]
    if asked.frames < 1:
        raise UnusableInput(f"--frames {asked.frames}: a mask has at least the first one")
    if (n_bytes := asked.frames * height * width * 12) > MAX_MASK_BYTES:
        raise UnusableInput(
            f"{asked.frames} masks of {width}x{height} are {n_bytes / 2**30:.1f} GiB; scale {asked.image.name} and its "
            "masks to the model's size, 720x480 for CogVideoX"
        )
    objects, outlines = pushed_objects(asked, height, width)
    masks = first_frame_masks(outlines, [pushed.velocity for pushed in objects], asked.frames)
    prompt, example_ids, made_by = outcome_prompt(asked, picture, objects)
    conditioning = Conditioning(
        image_sha256=hashlib.sha256(data).hexdigest(),
        width=width,
        height=height,
        n_frames=asked.frames,
        v_max_mps=V_MAX_MPS,
        scene=asked.scene,
        objects=objects,
        prompt=prompt,
        example_clip_ids=example_ids,
        made_by=[made_by],
    )
    write_atomic(asked.out / "velocity_mask.npz", _npz(masks))
    write_atomic(asked.out / "overview.png", encode_png(overview(picture, masks, objects, V_MAX_MPS)))
    write_atomic(asked.out / "prompt.txt", f"{prompt}\n".encode())
    write_atomic(asked.out / "conditioning.json", conditioning.model_dump_json(indent=2).encode())


def pushed_objects(asked: argparse.Namespace, height: int, width: int) -> tuple[list[PushedObject], np.ndarray]:
    """The objects with their velocities, and their masks: (K, height, width) bool."""
    names = asked.name or ["object"] * len(asked.mask)
    counts = {"--mask": len(asked.mask), "--arrow": len(asked.arrow), "--speed": len(asked.speed), "--name": len(names)}
    if len(set(counts.values())) > 1:
        raise UnusableInput(f"{', '.join(f'{n} {option}' for option, n in counts.items())}: give each object one")
    if stray := [
        f"{x:g},{y:g}" for arrow in asked.arrow for x, y in arrow if not (0 <= x <= width and 0 <= y <= height)
    ]:
        raise UnusableInput(f"arrow outside the {width}x{height} picture: {', '.join(stray)}; are x and y swapped?")
    camera = _read_camera(asked.camera, height, width) if asked.camera else None
    outlines = np.stack([read_mask(path.read_bytes(), path.name, height, width) for path in asked.mask])
    objects = []
    for name, (start, end), speed_mps, outline in zip(names, asked.arrow, asked.speed, outlines, strict=True):
        velocity = arrow_velocity(start, end, speed_mps, camera)
        objects.append(
            PushedObject(name=name, arrow_start_px=start, arrow_end_px=end, velocity=velocity, area=int(outline.sum()))
        )
    return objects, outlines


def outcome_prompt(
    asked: argparse.Namespace, picture: np.ndarray, objects: list[PushedObject]
) -> tuple[str, list[str], MadeBy]:
    """The prompt, the clips that were shown for it, and who made it."""
    if asked.outcome == "openai" and not (asked.examples and asked.name):
        raise UnusableInput("--outcome openai wants --examples, a snapshot of kinemask, and a --name for each object")
    predictor = load_backend(asked.outcome, EndpointConfig(), asked.out / "llm")
    examples = in_context_examples(Snapshot(asked.examples)) if asked.outcome == "openai" else []
    pushes = [
        Push(
            object=pushed.name,
            direction=direction_in_words(pushed.arrow_start_px, pushed.arrow_end_px),
            speed_mps=speed_mps,
        )
        for pushed, speed_mps in zip(objects, asked.speed, strict=True)
    ]
    prompt = predictor.predict(picture, asked.scene, pushes, examples)
    made_by = MadeBy.of("predict_outcome", predictor.identity)
    return prompt, [example.clip_id for example in examples], made_by


def _read_camera(path: AnyPath, height: int, width: int) -> Camera:
    try:
        camera = Camera.from_json(path.read_bytes())
    except ValidationError as error:
        raise UnusableInput(f"{path.name} is no camera: {error.errors()[0]['msg']}; see schemas/scene.py") from error
    if (camera.width, camera.height) != (width, height):
        raise UnusableInput(f"{path.name} sees {camera.width}x{camera.height}, the picture is {width}x{height}")
    return camera


def _npz(masks: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, velocity_mps=masks, normalised=normalised(masks))
    return sink.getvalue()


def _arrow(text: str) -> tuple[Point, Point]:
    values = [float(value) for value in text.split(",")]
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise ValueError("an arrow has four numbers")
    return (values[0], values[1]), (values[2], values[3])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triptych condition", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=parse_path, required=True, help="the picture")
    parser.add_argument("--mask", type=parse_path, action="append", required=True, help="an object, bright on black")
    parser.add_argument(
        "--arrow", type=_arrow, action="append", required=True, metavar="X0,Y0,X1,Y1", help="in px, from and to"
    )
    parser.add_argument("--speed", type=float, action="append", required=True, help="in m/s, 0.5 to 1.5 in training")
    parser.add_argument("--name", action="append", help="what the object is: 'blue mug'")
    parser.add_argument("--scene", default="", help="where it is: 'on a wooden table'")
    parser.add_argument("--camera", type=parse_path, help="the picture's Camera as JSON (default: the dataset's view)")
    parser.add_argument("--frames", type=int, default=N_FRAMES, help="frames of the mask (default: 49)")
    parser.add_argument("--outcome", choices=["constant", "openai"], default="constant", help="who makes the prompt")
    parser.add_argument("--examples", type=parse_path, help="a snapshot of kinemask")
    parser.add_argument("--out", type=parse_path, required=True, help="the folder that is written")
    return parser
