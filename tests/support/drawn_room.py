"""A drawn room whose boxes are known: a boy in red who touches a green box, and a blue ball."""

from __future__ import annotations

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.grounding import Proposal
from schemas.instance import Instance

WALL, FLOOR = (226, 222, 208), (206, 190, 170)
RED, BLUE, GREEN, WHITE = (205, 35, 40), (35, 80, 200), (30, 140, 60), (245, 245, 245)
SKIN, HAIR, TROUSERS = (222, 174, 138), (60, 44, 36), (74, 80, 96)


def instance(noun: str, class_name: str, *, living: bool = False, appearance: str = "", number: int = 1) -> Instance:
    return Instance(
        instance_id=f"id{number}", class_name=class_name, noun=noun, appearance=appearance, spatial="", living=living
    )


BOY = instance("a boy in a red shirt", "boy", living=True)
GREEN_BOX = instance("a green box", "box", number=2)
BLUE_BALL = instance("a blue ball", "ball", number=3)


def room(height: int = 240, width: int = 320) -> np.ndarray:
    rgb = np.full((height, width, 3), WALL, np.uint8)
    rgb[round(height * 0.75) :] = FLOOR
    return rgb


def ball(rgb: np.ndarray, centre: tuple[int, int], radius: int, colour: tuple[int, int, int]) -> Box:
    cv2.circle(rgb, centre, radius, colour, -1, cv2.LINE_AA)
    return (centre[0] - radius, centre[1] - radius, centre[0] + radius + 1, centre[1] + radius + 1)


def shaded_ball(
    size: tuple[int, int], centre: tuple[int, int], radius: int, colour: tuple[int, int, int] = (250, 140, 20)
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A ball lit from the upper left, which a classifier of photographs takes for one. size: (width, height)"""
    rgb = np.full((size[1], size[0], 3), 235, np.uint8)
    y, x = np.mgrid[: size[1], : size[0]]
    light = np.clip(
        1.1 - 0.6 * np.hypot(x - centre[0] + radius * 0.28, y - centre[1] + radius * 0.33) / radius, 0.25, 1
    )
    inside = np.hypot(x - centre[0], y - centre[1]) < radius
    rgb[inside] = np.clip(np.array(colour) * light[..., None], 0, 255)[inside].astype(np.uint8)
    return rgb, (centre[0] - radius, centre[1] - radius, centre[0] + radius + 1, centre[1] + radius + 1)


def crate(rgb: np.ndarray, left: int, top: int, side: int, colour: tuple[int, int, int]) -> Box:
    rgb[top : top + side, left : left + side] = colour
    return (left, top, left + side, top + side)


def child(rgb: np.ndarray, x: int, top: int, shirt: tuple[int, int, int]) -> Box:
    """A figure 44 px wide and 96 px high: hair, face, shirt with sleeves, trousers, shoes."""
    cv2.rectangle(rgb, (x - 12, top + 58), (x + 12, top + 90), TROUSERS, -1)
    cv2.rectangle(rgb, (x - 14, top + 90), (x + 14, top + 95), (70, 50, 44), -1)
    cv2.rectangle(rgb, (x - 14, top + 30), (x + 14, top + 58), shirt, -1)
    for side in (-1, 1):
        cv2.line(rgb, (x + side * 13, top + 34), (x + side * 18, top + 56), SKIN, 7)
    cv2.circle(rgb, (x, top + 17), 15, SKIN, -1)
    cv2.ellipse(rgb, (x, top + 14), (15, 14), 0, 180, 360, HAIR, -1)
    return (x - 22, top, x + 22, top + 96)


def room_with_push(x: int) -> tuple[np.ndarray, dict[str, Box]]:
    """A boy in red whose hand touches a green box, and a blue ball."""
    rgb = room()
    boy, green = child(rgb, x, 110, RED), crate(rgb, x + 21, 164, 40, GREEN)
    return rgb, {"id1": boy, "id2": green, "id3": ball(rgb, (280, 60), 14, BLUE)}


def best(proposals: list[Proposal]) -> Proposal:
    return max(proposals, key=lambda p: p.score)
