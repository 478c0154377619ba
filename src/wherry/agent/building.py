# SPDX-License-Identifier: Apache-2.0
"""The stages that make a guest on this host and remove one. Each may be run twice, and is let in by the fence.

Deletes nothing that was not made for the guest: what was is named in the journal before it is made, and in the guest's definition since.
"""

from __future__ import annotations

import functools

from wherry import errors
from wherry.agent import parts as wherry_parts
from wherry.agent import stage_notes
from wherry.rpc import instance_events, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Building:
    """One host in that role."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self.events = stage_notes.StageNotes(parts)

    @instance_events.wrap_instance_event("compute")
    async def _do_build_and_run_instance(self, command: messages.BuildGuest) -> messages.GuestBuilt:
        """Make the guest and start it."""
        entry = self._parts.journal.get(command.operation_id)
        # Fsynced before anything is made here: after a power failure too it must be known whose doing it was.
        await self._parts.journal.save(entry, is_synced=True)
        fetch = functools.partial(self._parts.images.fetch, command.order.image)
        built = await self._parts.driver.build_guest(self._parts.task_of(entry), command.order, fetch)
        # From here on the guest's own definition names what belongs to it.
        entry.created = []
        await self._parts.journal.save(entry, is_synced=True)
        return messages.GuestBuilt(guest=built)

    async def build(self, command: messages.BuildGuest) -> messages.GuestBuilt:
        """Make the guest and start it; the stage has the name of Nova's."""
        return await self._do_build_and_run_instance(command)

    @instance_events.wrap_instance_event("compute")
    async def terminate_instance(self, command: messages.DestroyGuest) -> messages.StageDone:
        """Remove the guest and what was made for it."""
        seen = await self._parts.driver.observe_guest(command.instance_uuid)
        if seen.has_job:
            raise errors.JobActive(job="migration", host=self._parts.host.name)
        entry = self._parts.journal.get(command.operation_id)
        await self._parts.journal.save(entry, is_synced=True)
        await self._parts.driver.destroy_guest(self._parts.task_of(entry))
        _log.info("A guest was removed", host=self._parts.host.name, instance_uuid=command.instance_uuid)
        return messages.StageDone()

    async def read_console(self, command: messages.ReadConsole) -> messages.ConsoleRead:
        """Give the end of the console."""
        text = await self._parts.driver.read_console(command.instance_uuid, self._parts.config.agent.console_max_bytes)
        # As Nova counts: what stands after the last line break, nothing as a rule, is a line too.
        lines = text.split("\n")
        kept = lines if command.lines is None else lines[len(lines) - min(command.lines, len(lines)) :]
        return messages.ConsoleRead(output="\n".join(kept))
