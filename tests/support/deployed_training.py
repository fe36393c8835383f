"""The stand-in training as a worker imports it: with its recipe, its job, and libraries that are not there.

entrypoint: tests.support.deployed_training.train_counting
"""

from __future__ import annotations

from tests.support.stand_in_training import replace_job
from tests.support.stand_in_training import train_counting as train_counting

replace_job()
