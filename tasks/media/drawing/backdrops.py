"""Backdrops and scenery in pale colours, which no caption names."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.media.drawing.canvas import FLOOR, HEIGHT, SUPERSAMPLING, WIDTH, Canvas, Colour, disc, rectangle, shade


def paint_backdrop(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(H * S, W * S, 3) uint8: "park", "room", "hall", "beach", "dusk" or "street", different with each rng."""
    canvas = Canvas(())
    painter = {"park": _park, "room": _room, "hall": _hall, "beach": _beach, "dusk": _dusk, "street": _street}[kind]
    painter(canvas, rng)
    return textured(canvas.supersampled(), rng)


def textured(picture: np.ndarray, rng: np.random.Generator, supersampling: int = SUPERSAMPLING) -> np.ndarray:
    """Add paper grain and soft blotches: on flat colour, optical flow fails and GrabCut is trivial."""
    height, width = picture.shape[:2]
    fine = (height // supersampling, width // supersampling)
    grain = cv2.resize(rng.normal(0, 3.0, fine).astype(np.float32), (width, height))
    blotches = cv2.resize(
        rng.normal(0, 3.0, (12, 16)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(picture + (grain + blotches)[..., None], 0, 255).astype(np.uint8)


def _gradient(top: Colour, bottom: Colour) -> np.ndarray:
    """(H * S, W * S, 3) uint8 from top to bottom."""
    height, width = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    u = np.linspace(0, 1, height)[:, None, None]
    return np.broadcast_to(np.array(top) * (1 - u) + np.array(bottom) * u, (height, width, 3)).astype(np.uint8)


def _hills(base: float, rise: float, rng: np.random.Generator) -> np.ndarray:
    """A rolling skyline at `base` px from the top, closed along the picture's foot."""
    x = np.linspace(-4, WIDTH + 4, 60)
    waves = np.sin(x / rng.uniform(38, 60) + rng.uniform(0, 6)) + 0.5 * np.sin(
        x / rng.uniform(18, 26) + rng.uniform(0, 6)
    )
    skyline = np.stack([x, base - rise * waves / 1.5], 1)
    return np.concatenate([skyline, [(WIDTH + 4, HEIGHT + 4), (-4, HEIGHT + 4)]])


def draw_cloud(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    canvas.detail(
        colour,
        *(
            disc((x + dx * size, y + dy * size), r * size)
            for dx, dy, r in ((-0.8, 0.1, 0.5), (0, -0.2, 0.7), (0.8, 0.1, 0.55))
        ),
    )


def draw_tree(canvas: Canvas, x: float, floor: float, size: float = 1.0) -> None:
    """A tree 210 px high with a trunk 28 px wide at size 1; scenery in front of earlier drawings."""
    canvas.draw_as(None)
    canvas.shadow(x, floor, 34 * size)
    trunk = [(-17, 0), (-13, -50), (-14, -130), (14, -130), (13, -50), (18, 0)]
    canvas.shape((158, 146, 136), [(x + dx * size, floor + dy * size) for dx, dy in trunk])
    canvas.stroke((138, 126, 118), [(x - 4 * size, floor - 20 * size), (x - 2 * size, floor - 74 * size)], 1.5)
    crown = ((-30, -144, 30), (28, -142, 32), (0, -172, 38))
    canvas.shape((150, 172, 146), *(disc((x + dx * size, floor + dy * size), r * size) for dx, dy, r in crown))
    canvas.detail(
        (164, 184, 158), *(disc((x + (dx - 7) * size, floor + (dy - 7) * size), r * 0.62 * size) for dx, dy, r in crown)
    )


def draw_wall(canvas: Canvas, left: float, right: float, top: float, floor: float) -> None:
    """A low wall of pale stones in front of earlier drawings."""
    canvas.draw_as(None)
    canvas.shape((186, 182, 176), rectangle(left, top, right, floor))
    canvas.shape((204, 200, 194), rectangle(left - 3, top - 6, right + 3, top))
    for row, y in enumerate(np.arange(top + 12, floor, 12)):
        canvas.stroke((164, 160, 154), [(left, y), (right, y)], 1.0)
        for x in np.arange(left + 10 + 9 * (row % 2), right - 2, 18):
            canvas.stroke((164, 160, 154), [(x, y - 12), (x, y)], 1.0)


def draw_table(canvas: Canvas, left: float, right: float, top: float) -> None:
    canvas.draw_as(None)
    canvas.shadow((left + right) / 2, FLOOR, (right - left) * 0.5)
    for x in (left + 12, right - 18):
        canvas.shape((168, 156, 146), rectangle(x, top + 5, x + 7, FLOOR + 2))
    canvas.shape((192, 180, 168), rectangle(left, top, right, top + 8))


def _park(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((196, 216, 236), (238, 242, 242)))
    for x in (60, 170, 270):
        draw_cloud(canvas, x + rng.uniform(-25, 25), rng.uniform(22, 50), rng.uniform(12, 19), (247, 249, 250))
    canvas.detail((190, 206, 194), _hills(126, 14, rng))
    canvas.detail((178, 198, 178), _hills(146, 9, rng))
    canvas.detail((198, 210, 178), rectangle(-4, 166, WIDTH + 4, HEIGHT + 4))
    draw_tree(canvas, rng.uniform(28, 60), 170, 0.5)
    draw_tree(canvas, rng.uniform(262, 300), 172, 0.58)
    for x, y in rng.uniform((0, 176), (WIDTH, HEIGHT - 4), (46, 2)):
        canvas.stroke((180, 194, 160), [(x - 2, y), (x, y - 4), (x + 2, y)], 0.8)


def _room(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((236, 230, 218), (226, 218, 204)))
    for x in np.arange(-10 + rng.uniform(0, 12), WIDTH, 24):
        canvas.detail((230, 223, 210), rectangle(x, 0, x + 9, 168))
    left = rng.uniform(196, 226)
    canvas.shape((246, 244, 238), rectangle(left, 24, left + 74, 96))
    canvas.detail((204, 218, 230), rectangle(left + 6, 30, left + 34, 90), rectangle(left + 40, 30, left + 68, 90))
    frame = rng.uniform(48, 84)
    canvas.shape((176, 164, 150), rectangle(frame, 34, frame + 50, 74))
    canvas.detail((216, 214, 204), rectangle(frame + 5, 39, frame + 45, 69))
    canvas.detail(
        (186, 194, 186), [(frame + 5, 69), (frame + 20, 50), (frame + 30, 60), (frame + 37, 54), (frame + 45, 69)]
    )
    _floorboards(canvas, (206, 194, 178), (188, 176, 160), rng)


def _hall(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((206, 214, 224), (222, 228, 232)))
    for x in np.arange(rng.uniform(-30, 0), WIDTH, 64):
        canvas.stroke((192, 202, 212), [(x, 0), (x, 166)], 1.6)
        canvas.detail((214, 222, 230), rectangle(x + 10, 20, x + 54, 150))
    _floorboards(canvas, (214, 208, 204), (198, 192, 188), rng)


def _floorboards(canvas: Canvas, board: Colour, gap: Colour, rng: np.random.Generator) -> None:
    canvas.detail(board, rectangle(-4, 168, WIDTH + 4, HEIGHT + 4))
    canvas.detail(shade(board, 1.1), rectangle(-4, 163, WIDTH + 4, 169))
    for top, bottom in ((169, 180), (180, 195), (195, 215), (215, HEIGHT + 4)):
        canvas.stroke(gap, [(0, bottom), (WIDTH, bottom)], 1.0)
        for x in np.arange(rng.uniform(0, 70), WIDTH, 74):
            canvas.stroke(gap, [(x, top), (x - 3, bottom)], 1.0)


def _beach(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((214, 228, 238), (244, 238, 226)))
    canvas.detail((252, 248, 234), disc((rng.uniform(60, 250), 48), 20))
    canvas.detail((168, 196, 204), rectangle(-4, 112, WIDTH + 4, HEIGHT))
    for _ in range(22):
        x, y = rng.uniform(0, WIDTH), rng.uniform(116, 150)
        canvas.stroke((192, 214, 218), [(x, y), (x + rng.uniform(10, 26), y)], 1.0)
    canvas.detail((238, 244, 242), _hills(158, 3, rng))
    canvas.detail((228, 216, 192), _hills(162, 3, rng))
    for x, y in rng.uniform((0, 176), (WIDTH, HEIGHT), (60, 2)):
        canvas.detail((212, 200, 176), disc((x, y), 0.9))


def _dusk(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((82, 84, 112), (150, 138, 152)))
    canvas.detail((222, 218, 206), disc((rng.uniform(60, 260), 44), 15))
    for x, y in rng.uniform((0, 0), (WIDTH, 100), (30, 2)):
        canvas.detail((200, 200, 212), disc((x, y), 0.8))
    canvas.detail((98, 98, 116), _hills(136, 14, rng))
    canvas.detail((84, 88, 98), _hills(160, 6, rng))
    canvas.detail((104, 106, 110), rectangle(-4, 172, WIDTH + 4, HEIGHT + 4))


def _street(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((226, 220, 232), (240, 234, 232)))
    for left in np.arange(-12.0, WIDTH, 58):
        top, tone = rng.uniform(44, 92), rng.uniform(0.94, 1.04)
        canvas.shape(shade((204, 198, 206), tone), rectangle(left, top, left + 58, 170), line=0.5)
        for x in (left + 10, left + 34):
            for y in np.arange(top + 12, 146, 26):
                canvas.detail(shade((226, 224, 226), tone), rectangle(x, y, x + 13, y + 16))
    canvas.detail((206, 204, 204), rectangle(-4, 168, WIDTH + 4, HEIGHT + 4))
    canvas.detail((186, 184, 186), rectangle(-4, 218, WIDTH + 4, HEIGHT + 4))
    canvas.stroke((172, 170, 172), [(0, 218), (WIDTH, 218)], 2.0)
