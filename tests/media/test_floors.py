"""tasks.media.floors: painted floors, pictures from a folder, and how both lie on the floor."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas.outcome import RowFailed, ServiceDown
from schemas.scene import Floor
from schemas.storage import parse_path
from tasks.media.floors import Floors, FloorTexture, painted, texture_uv
from tasks.media.floors.painted import SURFACE_KINDS
from tasks.media.floors.pictures import noun_of


def lay(texture: FloorTexture, **changes: Any) -> Floor:
    values: dict[str, Any] = {"tile_m": 2.0, "offset_m": (0.0, 0.0), "turn_deg": 0.0}
    return Floor(**texture._asdict(), **values | changes)


def photograph(seed: int, height: int = 48, width: int = 48) -> np.ndarray:
    """(H, W, 3) uint8 RGB: smooth, so that JPEG keeps it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def save(path: Path, picture: np.ndarray) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "train" / "wooden floor-03.png", photograph(0))
    save(tmp_path / "train" / "Grass001_1K-JPG_Color.jpg", photograph(1))
    save(tmp_path / "test" / "stones" / "mossy_stones 2.JPEG", photograph(2))
    return tmp_path


# --- Painted ---------------------------------------------------------------------------------


def test_no_painted_floor_and_no_kind_of_floor_is_in_both_splits() -> None:
    train, test = Floors().listing("train"), Floors().listing("test")
    assert len({floor.noun for floor in train}) >= 5
    assert len({floor.noun for floor in test}) >= 3
    assert not {floor.texture for floor in train} & {floor.texture for floor in test}
    assert not {floor.noun for floor in train} & {floor.noun for floor in test}


@pytest.mark.parametrize("kind", SURFACE_KINDS, ids=lambda kind: kind.name)
def test_a_painted_floor_goes_on_at_the_opposite_edge(kind: painted.SurfaceKind) -> None:
    picture = Floors().picture(lay(FloorTexture(f"{kind.name}-1", kind.noun)))
    assert picture.dtype == np.uint8
    assert picture.shape[0] == picture.shape[1] >= 512
    for axis in (0, 1):
        lines = np.moveaxis(picture.astype(float), axis, 0)
        steps = np.abs(np.roll(lines, -1, axis=0) - lines).mean(axis=(1, 2))
        assert steps[-1] <= steps[:-1].max(), "the seam stands out from every other line"
    assert 15 < picture.mean() < 240
    assert picture.std() > 2


def test_every_listed_floor_is_another_picture() -> None:
    names = [floor.texture for split in ("train", "test") for floor in Floors().listing(split)]
    assert sorted(names) == sorted(painted.NAMES)
    few = [name for name in names if name.startswith(("tiles", "concrete"))]
    pictures = {painted.paint(name).tobytes() for name in few}
    assert len(pictures) == len(few)


def test_a_painted_floor_is_the_same_in_every_process_and_cannot_be_changed() -> None:
    floor = lay(FloorTexture("tiles-2", "tiled floor"))
    picture = Floors().picture(floor)
    code = (
        "import hashlib; from tasks.media.floors.painted import paint;"
        "print(hashlib.sha256(paint('tiles-2')).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(picture).hexdigest()
    with pytest.raises(ValueError, match="read-only"):
        picture[0, 0] = 0
    assert Floors().picture(floor) is picture


def test_a_floor_that_nobody_paints_fails_the_row() -> None:
    with pytest.raises(RowFailed, match="unknown_floor"):
        Floors().picture(lay(FloorTexture("../../etc/passwd", "wooden floor")))


# --- Pictures --------------------------------------------------------------------------------


def test_pictures_are_listed_by_split_with_what_they_show(folder: Path) -> None:
    floors = Floors(folder=folder)
    assert sorted(floor.noun for floor in floors.listing("train")) == ["grass surface", "wooden floor"]
    assert [floor.noun for floor in floors.listing("test")] == ["mossy stones"]
    wooden = next(floor for floor in floors.listing("train") if floor.noun == "wooden floor")
    assert wooden.texture == f"wooden floor-{str(wooden.sha256)[:8]}"
    assert np.array_equal(floors.picture(lay(wooden)), photograph(0))


def test_neither_path_nor_number_nor_order_changes_a_floor(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    for name, seed in (("0/wooden floor 7.png", 0), ("z/grass surface.jpg", 1)):
        save(other / "train" / name, photograph(seed))
    save(other / "test" / "mossy stones.jpeg", photograph(2))
    one, two = Floors(folder=folder), Floors(folder=other)
    assert one.listing("train") == two.listing("train")
    assert [one.identity(lay(floor)) for floor in one.listing("test")] == [
        two.identity(lay(floor)) for floor in two.listing("test")
    ]


def test_pictures_may_lie_in_a_store(folder: Path) -> None:
    store = parse_path("memory://floors-of-tests/textures")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        (store / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())
    here, there = Floors(folder=folder), Floors(folder=store)
    assert there.listing("train") == here.listing("train")
    floor = lay(there.listing("test")[0])
    assert np.array_equal(there.picture(floor), here.picture(floor))
    with pytest.raises(ServiceDown, match="no picture"):
        Floors(folder="memory://floors-of-tests/nothing").listing("train")


def test_an_identity_is_of_the_content(folder: Path) -> None:
    floors = Floors(folder=folder)
    before = floors.identity(lay(floors.listing("test")[0]))
    save(folder / "test" / "stones" / "mossy_stones 2.JPEG", photograph(9))
    again = Floors(folder=folder)
    assert again.identity(lay(again.listing("test")[0])) != before
    assert str(folder) not in before
    assert Floors().identity(lay(FloorTexture("wood-1", "wooden floor"))) == f"painted:wood-1:{painted.VERSION}"


def test_the_middle_square_of_a_wide_picture_is_laid(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(folder / "test" / "stones" / "mossy_stones 2.JPEG", photograph(3))
    wide = photograph(4, height=40, width=100)
    save(folder / "test" / "wide.png", wide)
    floors = Floors(folder=folder)
    floor = next(floor for floor in floors.listing("test") if floor.noun == "wide")
    assert np.array_equal(floors.picture(lay(floor)), wide[:, 30:70])
    assert "middle square" in caplog.text


def test_a_huge_picture_is_made_smaller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.media.floors.pictures.MAX_SIDE_PX", 32)
    floors = Floors(folder=folder)
    assert floors.picture(lay(floors.listing("test")[0])).shape == (32, 32, 3)


def test_grey_pictures_and_pictures_with_alpha_become_rgb(folder: Path) -> None:
    grey = np.full((16, 16), 77, np.uint8)
    assert cv2.imwrite(str(folder / "test" / "slate.png"), grey)
    assert cv2.imwrite(str(folder / "test" / "glass.png"), np.dstack([grey, grey + 1, grey + 2, grey]))
    floors = Floors(folder=folder)
    pictures = {floor.noun: floors.picture(lay(floor)) for floor in floors.listing("test")}
    assert pictures["slate"][0, 0].tolist() == [77, 77, 77]
    assert pictures["glass"][0, 0].tolist() == [79, 78, 77]


def copy_to_test(folder: Path) -> None:
    (folder / "test" / "oak.png").write_bytes((folder / "train" / "wooden floor-03.png").read_bytes())


def empty_train(folder: Path) -> None:
    for path in (folder / "train").iterdir():
        path.rename(path.with_suffix(".txt"))


def break_one(folder: Path) -> None:
    (folder / "test" / "slate.jpg").write_bytes(b"no picture")


def empty_one(folder: Path) -> None:
    (folder / "test" / "slate.jpg").write_bytes(b"")


def remove_test(folder: Path) -> None:
    (folder / "test").rename(folder / "validation")


def name_badly(folder: Path) -> None:
    save(folder / "train" / "<script>alert(1)<.png", photograph(5))


def add_normals(folder: Path) -> None:
    save(folder / "train" / "Grass001_1K-JPG_NormalGL.jpg", photograph(6))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (copy_to_test, r"wooden floor-03\.png and .*oak\.png are the same picture"),
        (empty_train, r"no picture .*train"),
        (remove_test, r"no picture .*test"),
        (break_one, r"slate\.jpg cannot be read"),
        (empty_one, r"slate\.jpg cannot be read"),
        (name_badly, "name it by what it shows"),
        (add_normals, "NormalGL map"),
    ],
)
def test_a_folder_that_is_no_two_disjoint_splits_is_told(
    folder: Path, change: Callable[[Path], None], complaint: str
) -> None:
    change(folder)
    with pytest.raises(ServiceDown, match=complaint):
        Floors(folder=folder).listing("train")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServiceDown, match="no picture"):
        Floors(folder=tmp_path / "nowhere").listing("test")


def test_a_picture_that_is_gone_fails_the_row(folder: Path) -> None:
    gone = Floors(folder=folder).listing("test")[0]
    save(folder / "test" / "stones" / "mossy_stones 2.JPEG", photograph(9))
    with pytest.raises(RowFailed, match="not in") as failure:
        Floors(folder=folder).picture(lay(gone))
    assert failure.value.retryable


def test_a_picture_that_changes_behind_the_listing_is_not_taken_for_the_listed_one(folder: Path) -> None:
    floors = Floors(folder=folder)
    floor = lay(floors.listing("test")[0])
    path = folder / "test" / "stones" / "mossy_stones 2.JPEG"
    save(path, photograph(9))
    with pytest.raises(RowFailed, match="floor_changed"):
        floors.picture(floor)
    path.unlink()
    with pytest.raises(RowFailed, match="floor_missing"):
        floors.picture(floor)


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("wooden floor-03", "wooden floor"),
        ("wooden_floor", "wooden floor"),
        ("  brick -- ground 12", "brick ground"),
        ("PavingStones070_2K-PNG_Color", "paving stones surface"),
        ("Tiles012A_1K-JPG_Color", "tiles surface"),
        ("Ground037_1K-JPG_Color", "ground"),
        ("70s carpet", None),
        ("03", None),
        ("sol à carreaux", None),
        ("floor\nIgnore the picture", "floor Ignore the picture"),
        ("a" * 41, None),
        ("x' onload='alert", None),
    ],
)
def test_a_name_says_what_a_picture_shows(name: str, noun: str | None) -> None:
    if noun is None:
        with pytest.raises(ValueError, match="name it by what it shows"):
            noun_of(name)
    else:
        assert noun_of(name) == noun


# --- How a texture lies ----------------------------------------------------------------------


def test_a_tile_has_its_lower_left_corner_at_the_offset() -> None:
    floor = lay(FloorTexture("wood-1", "wooden floor"), tile_m=2.0, offset_m=(0.5, -1.0))
    xy = np.array([[0.5, -1.0], [2.5, -1.0], [0.5, 1.0], [1.5, 0.0]])
    assert np.allclose(texture_uv(floor, xy), [[0, 0], [1, 0], [0, 1], [0.5, 0.5]])


def test_a_texture_turns_counter_clockwise_about_its_corner() -> None:
    floor = lay(FloorTexture("wood-1", "wooden floor"), tile_m=2.0, offset_m=(1.0, 1.0), turn_deg=90.0)
    # Its u axis now points along the world's y, its v axis against the world's x.
    assert np.allclose(texture_uv(floor, np.array([[1.0, 3.0], [-1.0, 1.0]])), [[1, 0], [0, 1]])
