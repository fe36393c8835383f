"""a seed -> a scene of rigid bodies, how they move and what they hit (KineMask 3.3, 4.1).

    SceneSeed(set="interactions", split="train", seed=4) ->
        a purple cube moves at (-0.93, -0.25, 0) m/s on bricks; at 0.66 s it hits the green cylinder, which
        slides 0.15 m; the blue, red and white ones stay. The previous draw was rejected: late_collision

Scenes are drawn until one is a valid clip of its set. Each draw is simulated with PyBullet and judged by the simulated
motion and the exact pixels of each body.

    config    settings of the scenes                palette        colours of the bodies
    draw      a scene from a seed                   layout         where its bodies stand
    recording a motion -> what is stored of it      judge          is it a clip of its set?
"""

from __future__ import annotations

from collections import Counter

from schemas.outcome import RowRejected
from schemas.provenance import MadeBy
from schemas.scene import RejectedDraw, Scene, SceneSeed, Split
from schemas.simulation import Simulation
from tasks.backends import bullet
from tasks.backends.bullet import Bullet
from tasks.engine.progress import counted
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.floors import Floors, FloorTexture
from tasks.simulate_scenes.config import SceneConfig
from tasks.simulate_scenes.draw import draw_scene, lay
from tasks.simulate_scenes.judge import Simulated, find_fault
from tasks.simulate_scenes.layout import Crowded
from tasks.simulate_scenes.recording import collisions, trajectories

__all__ = ["SceneConfig", "result_of", "run_scene", "simulate", "stage"]


def simulate(seed: SceneSeed, config: SceneConfig, floors: Floors) -> Simulation:
    """Draw scenes until one is a valid clip of its set. Same seed, config and floors: same bytes.

    Raises RowRejected("no_acceptable_draw") with the last draw as evidence, ServiceDown without PyBullet.
    """
    engine = bullet.load()
    rejected: list[RejectedDraw] = []
    last: Simulation | None = None
    for attempt in counted(range(config.max_draws), "draws"):
        try:
            scene = draw_scene(seed, attempt, config, floors)
        except Crowded as error:
            rejected.append(RejectedDraw(attempt=attempt, reason="crowded", detail=str(error)))
            continue
        simulated = run_scene(engine, scene, config.substeps_per_s)
        fault = find_fault(simulated, config)
        if fault is not None:
            rejected.append(RejectedDraw(attempt=attempt, reason=fault.reason, detail=fault.detail))
        last = Simulation(
            scene=scene,
            trajectories=simulated.trajectories,
            collisions=simulated.collisions,
            rejected_draws=list(rejected),
            made_by=makers(),
        )
        if fault is None:
            return last
    counts = Counter(draw.reason for draw in rejected)
    why = ", ".join(f"{n} {reason}" for reason, n in counts.most_common())
    raise RowRejected("no_acceptable_draw", f"{config.max_draws} draws: {why}", evidence=last)


def run_scene(engine: Bullet, scene: Scene, substeps_per_s: int) -> Simulated:
    """Simulate a scene's motion. Raises ValueError if substeps_per_s is not a multiple of the frame rate."""
    motion = engine.move(scene, substeps_per_s)
    return Simulated(scene, motion, trajectories(scene, motion), collisions(scene, motion))


def makers() -> list[MadeBy]:
    return [MadeBy.of(Simulation.stage_name, bullet.identity())]


def stage(work: Work, config: SceneConfig, floors: Floors) -> Stage[SceneSeed, SceneSeed, Simulation]:
    return Stage(
        version=1,
        result=Simulation,
        config=config,
        made_by=makers(),
        read=lambda row: row.payload,
        key_of=lambda seed: [seed.set, seed.split, seed.seed, _floors_of(floors, seed.split)],
        compute=lambda seed: simulate(seed, config, floors),
        concurrency=1,  # PyBullet keeps the interpreter's lock
    )


def result_of(work: Work, row: Row[SceneSeed]) -> Simulation:
    return work.result(row, Simulation)


def _floors_of(floors: Floors, split: Split) -> list[tuple[FloorTexture, str]]:
    """What draws depend on: the textures, and their pictures, from whose colours the bodies' must differ."""
    return [(texture, floors.identity(lay(texture, tile_m=1.0))) for texture in floors.listing(split)]
