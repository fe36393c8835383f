"""The page's own charts: figure 10's map of contactness and dynamism, and when an instance has a mask.

presence_bar([True, True, False, True], anchor_frame=1)
->  <svg class="presence" ...> frames 0 and 1 and frame 3 filled, a stroke at 1 </svg>
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from tasks.pages.charts import WIDTH, svg, tag


def heat_map(grid: Sequence[Sequence[int]]) -> Markup:
    """5 x 5 counts, contactness down and dynamism across from 1 -> a map with contactness 5 on top."""
    most = max((n for row in grid for n in row), default=0) or 1

    def cell(contact: int, dynamism: int, n: int) -> Markup:
        x, y = 44 + 54 * dynamism, 4 + 42 * (4 - contact)
        ink = ("on" if n / most > 0.5 else "") if n else "none"
        return tag(
            "g",
            tag("title", f"contactness {contact + 1}, dynamism {dynamism + 1}: {n}"),
            tag(
                "rect", class_="cell", x=x, y=y, width=50, height=38, rx=4, fill_opacity=f"{0.06 + 0.94 * n / most:.3f}"
            ),
            tag("text", n, class_=ink, x=x + 25, y=y + 24),
        )

    return svg(
        WIDTH,
        258,
        "contactness by dynamism",
        *(cell(contact, dynamism, n) for contact, row in enumerate(grid) for dynamism, n in enumerate(row)),
        *(tag("text", i + 1, x=69 + 54 * i, y=230) for i in range(5)),
        *(tag("text", i + 1, x=34, y=28 + 42 * (4 - i)) for i in range(5)),
        tag("text", "dynamism", class_="axis", x=177, y=250),
        tag("text", "contactness", class_="axis", x=12, y=109, transform="rotate(-90 12 109)"),
    )


def presence_bar(present: Sequence[bool], anchor_frame: int) -> Markup:
    """A thin bar over the frames: filled where there is a mask, a stroke at the anchor."""
    runs = []
    at = 0
    for has_mask, frames in groupby(present):
        length = len(list(frames))
        if has_mask:
            runs.append(tag("rect", x=at, y=0, width=length, height=10))
        at += length
    return tag(
        "svg",
        *runs,
        tag("path", d=f"M{anchor_frame + 0.5} 0V10", vector_effect="non-scaling-stroke"),
        class_="presence",
        viewBox=f"0 0 {len(present)} 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"a mask in {sum(present)} of {len(present)} frames, anchor on frame {anchor_frame}",
    )
