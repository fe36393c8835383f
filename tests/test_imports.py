"""Heavy imports stay in their backend: `import flows, tasks, schemas` needs no torch, no bpy, no GPU."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import flows, schemas, tasks
for package in (flows, schemas, tasks):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(*sorted(sys.modules))
"""
HEAVY = {"torch", "torchvision", "transformers", "groundingdino", "sam2", "bpy", "pybullet", "decord", "diffusers"}
HEAVY |= {"s3fs", "aiobotocore", "boto3", "botocore"}


def test_no_heavy_module_is_imported_with_the_flows_and_stages() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in done.stdout.split()}
    assert {"flows", "tasks", "schemas", "prefect"} <= imported
    assert not imported & HEAVY
