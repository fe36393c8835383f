"""The demo of training: the demo's clips become samples, a tiny random model learns from them, and its run has a page.

triptych demo training --folder demo-train        three minutes on two cores; needs the extra `models`

The model is a CogVideoX of the real classes, a millionth of its size, with random weights: its videos mean nothing. It
shows the way there, and that the losses fall.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from flows.commands import demo
from flows.registry import load_flow, load_training

# Three latents of 12 x 18: 162 video tokens.
SIZE = {"n-frames": "9", "width": "144", "height": "96"}
N_STEPS = 60


def main(folder: Path, options: list[str]) -> None:
    """options: of `triptych train matrix`, on top of the demo's."""
    from flows.engine.command import errors_in_one_line, look_before
    from flows.engine.steps import run_step
    from tasks.training.models.tiny import save_tiny_cogvideox

    started_s = time.monotonic()
    curated, samples, runs, model = (folder / name for name in ("curated", "samples", "runs", "model"))
    with errors_in_one_line("training"):
        look_before(folder)
        if not (model / "model_index.json").exists():
            run_step("draw_model", save_tiny_cogvideox, model)
    demo.main(["matrix11k", "--folder", str(curated), "--no-report"])
    fitted = [f"--fit.{name}={value}" for name, value in SIZE.items()]
    prepared = [
        *("--snapshot", str(curated), "--inputs", str(curated / "input"), "--root", str(samples)),
        *("--encoder.model", str(model), "--encoder.precision", "float32", "--test-share", "0.2", *fitted),
    ]
    print(f"triptych prepare matrix-samples {shlex.join(prepared)}", flush=True)
    load_flow("matrix-samples").main(prepared)
    trained = [
        *("--samples", str(samples), "--runs", str(runs), "--training.model", str(model)),
        *("--training.lora.blocks=[1,2]", "--training.lora.rank=8", "--training.lora.alpha=8"),
        *("--training.alignment.sga-blocks=[1]", "--training.alignment.spa-blocks=[2]"),
        *("--training.attention.v2t-blocks=[1]", "--training.attention.v2v-blocks=[2]"),
        *("--training.alignment.sga-weight=1", "--training.alignment.spa-weight=1"),
        *("--training.alignment.mask-stride-px=4", "--training.alignment.decoder-channels=8"),
        *(f"--training.{name}={value}" for name, value in SIZE.items()),
        f"--training.optimisation.n-steps={N_STEPS}",
        *("--training.optimisation.batch-size=2", "--training.optimisation.learning-rate=0.003"),
        *(
            "--training.optimisation.precision=float32",
            "--training.optimisation.checkpoint-every=20",
            "--training.optimisation.validate-every=30",
        ),
        *("--training.validation.n-denoising-steps=10", *options),
    ]
    print(f"triptych train matrix {shlex.join(trained)}", flush=True)
    load_training("matrix").main(trained)
    (page,) = sorted(runs.glob("matrix-*/index.html"), key=lambda path: path.stat().st_mtime)[-1:]
    served = shlex.join(["triptych", "serve", "--root", str(samples), "--runs", str(runs)])
    print(f"{time.monotonic() - started_s:.0f} s. Open this in a browser, or run `{served}` to see it from elsewhere:")
    print(page.resolve().as_uri())
