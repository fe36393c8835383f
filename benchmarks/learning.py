"""What the benchmarks of learning share: trainings by the real job in this process, intervals, pictures.

    trained = train("benchmarks.bench_learning_dsr:RECIPE", config, snapshot, folder, micro_batch=8)
    trained.noted["margin"]                           (points,): what its `validate` noted, by steps
    ratio = interval(np.array([0.91, 0.94, 0.90]))    Interval(mean=0.917, low=0.865, high=0.968)

A benchmark's recipe is the paper's with another `validate`: it measures on kept-out samples and notes it
(`note`) where the paper's makes videos.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from schemas.config import StageConfig
from schemas.storage import write_atomic
from schemas.training_run import METRICS, REQUEST, RunRequest
from tasks.engine.snapshots import Snapshot
from tasks.pages.charts import points_of, svg, tag
from tasks.training.identity import library_versions
from tasks.training.models.base import load_base
from tasks.training.recipe import code_version, load_recipe

if TYPE_CHECKING:
    import torch

STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # of the 95 % interval of so many seeds
NOTES = "notes.jsonl"
COLOURS = ("#c2410c", "#1d4ed8", "#15803d")

Lines = Mapping[str, np.ndarray]  # by side: (seeds, points)


# --- Training --------------------------------------------------------------------------------


class Trained(NamedTuple):
    folder: Path
    metrics: list[dict[str, Any]]  # a line an update
    noted: dict[str, np.ndarray]  # {"step": (points,), "error": (points,)}


def train(recipe: str, config: StageConfig, snapshot: Snapshot, folder: Path, micro_batch: int) -> Trained:
    """A whole run by the job's own loop: one process, this one, one thread. It goes on from where it was killed."""
    import torch

    from tasks.training.job.loop import train as run_job
    from tasks.training.job.stopping import Stopping

    torch.set_num_threads(1)
    request = RunRequest(
        recipe=recipe,
        config=config.model_dump_json(),
        snapshot_id=snapshot.id,
        samples=str(snapshot.folder),
        base_model=load_recipe(recipe).base_model(config),
        n_processes=1,
        micro_batch=micro_batch,
        code=code_version(recipe),
        libraries=library_versions(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / REQUEST, request.to_json())
    run_job(folder, Stopping())
    return Trained(folder, read_lines(folder / METRICS), columns(read_lines(folder / NOTES)))


def note(draft: Path, step: int, measured: Mapping[str, float]) -> None:
    """Called by a benchmark's `validate`, with the folder that it is given."""
    with (draft.parent / NOTES).open("a") as file:
        file.write(json.dumps({"step": step, **measured}) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def columns(lines: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """[{"step": 0, "error": 1.2}, {"step": 9, "error": 1.1}] -> {"step": [0, 9], "error": [1.2, 1.1]}

    Of a step that was noted twice, since a run went on from it, the last line counts.
    """
    last = [*{line["step"]: line for line in lines}.values()]
    return {name: np.array([line[name] for line in last], float) for name in (last[0] if last else ())}


def fitted(
    base: Path, folder: Path, n_steps: int, loss_of: Callable[[Any, Any, torch.Generator], torch.Tensor]
) -> Path:
    """A copy of a base model whose transformer has learnt something first, all of it; made once.

    loss_of: (transformer, scheduler, generator) -> the loss of a batch that it draws
    """
    import torch

    if folder.exists():
        return folder
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stock = load_base(str(base), "float32")
    transformer, generator = stock.transformer.requires_grad_(True).train(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(transformer.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    losses = []
    for _ in range(n_steps):
        loss = loss_of(transformer, stock.scheduler, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        losses.append(loss.item())
    tenth = max(1, n_steps // 10)
    first, last = np.mean(losses[:tenth]), np.mean(losses[-tenth:])
    print(f"the base model was fitted for {n_steps} steps: its error fell from {first:.3g} to {last:.3g}", flush=True)
    aside = folder.with_name(f".{folder.name}")
    shutil.copytree(base, aside, dirs_exist_ok=True)
    transformer.save_pretrained(aside / "transformer")
    return aside.rename(folder)


# --- Over seeds ------------------------------------------------------------------------------


class Interval(NamedTuple):
    """Student's 95 % interval of the mean over seeds; of one seed that value three times."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def interval(values: np.ndarray) -> Interval:
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, mean, mean)
    half = STUDENT_T[len(values)] * float(values.std(ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


# --- Pictures --------------------------------------------------------------------------------


def picture(panels: Mapping[str, Lines], n_steps: int, label: str) -> str:
    """SVG: a panel beside the other, in each a thin line a seed and a thick one of their mean, a colour a side."""
    drawn = []
    for place, (title, lines) in enumerate(panels.items()):
        left = 70 + 380 * place
        low, high = (float(bound(np.stack([*lines.values()]))) for bound in (np.min, np.max))
        span = high - low or 1.0
        drawn += [tag("text", title, x=left, y=20)]
        drawn += [tag("text", f"{y:.3g}", x=left - 8, y=220 - 150 * (y - low) / span, **RIGHT) for y in (low, high)]
        for row, (side, some) in enumerate(lines.items()):
            colour = COLOURS[row]
            drawn.append(tag("text", side, x=left, y=36 + 14 * row, fill=colour))
            for line, width in [*((one, 0.5) for one in some), (some.mean(0), 2.0)]:
                x = left + 280 * np.arange(len(line)) / max(1, len(line) - 1)
                points = points_of(np.column_stack([x, 220 - 150 * (line - low) / span]))
                drawn.append(tag("polyline", points=points, fill="none", stroke=colour, stroke_width=width))
        drawn.append(tag("text", f"step 0 to {n_steps}", x=left, y=238))
    return str(svg(40 + 380 * len(panels), 250, label, *drawn))


RIGHT = {"text_anchor": "end"}


# --- Command ---------------------------------------------------------------------------------


def arguments(doc: str | None, seeds: Sequence[int]) -> argparse.Namespace:
    """seeds: those of the measured run"""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds, help="other seeds, to try something out")
    parser.add_argument("--svg", type=Path, help="write the curves there")
    parser.add_argument("--folder", type=Path, help="keep samples and runs there; the same command goes on from them")
    return parser.parse_args()


@contextmanager
def kept_in(folder: Path | None) -> Iterator[Path]:
    """The folder, or one that is deleted in the end."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
