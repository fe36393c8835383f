"""The job that trains: one loop for every recipe, which goes on exactly where it was killed (docs/training.md).

torchrun --standalone --nproc-per-node 2 -m tasks.training.job runs/matrix-3f9c2a71b0de
"""
