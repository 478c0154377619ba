# SPDX-License-Identifier: Apache-2.0
"""Moves of guests that are off, which this driver does not do yet: it says so in its flags, and here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NoReturn

from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import capabilities
from wherry.model import guest, migration, progress


class GuestRelocation:
    """That role of the driver of one host."""

    async def check_departure(self, task: base.Task, plan: migration.Plan) -> base.Departure:
        """Refuse."""
        _refuse()

    async def prepare_arrival(self, task: base.Task, plan: migration.Plan) -> None:
        """Refuse."""
        _refuse()

    async def retire_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Refuse."""
        _refuse()

    async def send_disks(self, task: base.Task, plan: migration.Plan, report: Callable[[progress.Progress], None]) -> None:
        """Refuse."""
        _refuse()

    async def receive_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Refuse."""
        _refuse()

    async def restore_guest(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Refuse."""
        _refuse()

    async def discard_guest(self, task: base.Task, plan: migration.Plan) -> None:
        """Refuse."""
        _refuse()

    async def release_guest(self, task: base.Task, plan: migration.Plan, owned: Collection[str]) -> tuple[str, ...]:
        """Refuse."""
        _refuse()


def _refuse() -> NoReturn:
    raise errors.Unsupported(what="Cold migration", driver=capabilities.DRIVER)
