"""An instance: an entity of an interaction, `id1`..`id5`.

Instance(instance_id="id2", class_name="ball", noun="a red ball",
         appearance="The ball is red.", spatial="It is on the ground.")
"""

from __future__ import annotations

from typing import ClassVar

from schemas.record import Record, column


class Instance(Record):
    """An entity that takes part in an interaction, described so that it can be told apart (MATRIX A.1)."""

    schema_version: ClassVar[int] = 1

    instance_id: str = column("id1, id2, ...: one entity, one id, in the caption's order", pattern=r"^id[1-9][0-9]*$")
    class_name: str = column("Base noun: 'man', 'cup'", min_length=1)
    noun: str = column("Short, visually distinguishing noun phrase: 'a man in a blue shirt'", min_length=1)
    appearance: str = column("One sentence on how it looks")
    spatial: str = column("One sentence on where it is or its role")
    living: bool = column("True for people and animals: only these can be subjects")
