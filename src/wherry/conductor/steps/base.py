# SPDX-License-Identifier: Apache-2.0
"""What a step is. One file a step; the table in `steps/__init__.py` is the order of the road."""

from __future__ import annotations

from typing import Protocol

from wherry.conductor import drive
from wherry.model import operation


class Step(Protocol):
    """One stage of an operation. Each of the three may run twice for one operation, and the second time finds the work done."""

    name: operation.StepName

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Say whether to leave the road before this step; changes nothing."""

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Do the step's work and say what to store.

        :raises CheckFailed: to end the migration, or skip its destination, while nothing is touched.
        :raises Error: retryable ones make the orchestrator run the step again after a pause.
        """

    async def undo(self, on: drive.Drive) -> None:
        """Take back what `execute` did on any host."""
