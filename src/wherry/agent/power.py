# SPDX-License-Identifier: Apache-2.0
"""What is done to a guest where it is, on request: pause, let run, start, shut down, power off, suspend.

Lays no hand on a guest that its hypervisor is moving: whose migration that is, ours or another's, is not asked.
"""

from __future__ import annotations

from wherry import errors
from wherry.agent import parts as wherry_parts
from wherry.agent import stage_notes
from wherry.model import power
from wherry.rpc import instance_events, messages


class Power:
    """One host in that role."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts
        self.events = stage_notes.StageNotes(parts)
        self._stages = {
            power.PowerAction.PAUSE: self.pause_instance,
            power.PowerAction.UNPAUSE: self.unpause_instance,
            power.PowerAction.START: self.start_instance,
            power.PowerAction.STOP: self.stop_instance,
            power.PowerAction.REBOOT: self.reboot_instance,
            power.PowerAction.REBOOT_HARD: self.reboot_instance,
            power.PowerAction.SUSPEND: self.suspend_instance,
            power.PowerAction.RESUME: self.resume_instance,
        }

    async def change_power(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Do what is asked.

        :raises JobActive: while the guest is being migrated.
        """
        await self._require_no_job(command)
        entry = self._parts.journal.get(command.operation_id)
        # On disk before the guest is touched: whoever looks into it later must find whose doing it was.
        await self._parts.journal.save(entry, is_synced=True)
        return await self._stages[command.action](command)

    async def shut_down(self, command: messages.ShutDownGuest) -> messages.Observed:
        """Ask the guest to shut itself down, and say how it is now.

        :raises JobActive: while the guest is being migrated.
        """
        await self._require_no_job(command)
        await self._parts.driver.shut_down_guest(command.instance_uuid)
        return messages.Observed(observation=await self._parts.driver.observe_guest(command.instance_uuid))

    @instance_events.wrap_instance_event("compute")
    async def pause_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Pause the guest."""
        await self._parts.driver.pause_guest(command.instance_uuid)
        return await self._changed(command)

    @instance_events.wrap_instance_event("compute")
    async def unpause_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Let the guest run on."""
        await self._parts.driver.resume_guest(command.instance_uuid)
        return await self._changed(command)

    @instance_events.wrap_instance_event("compute")
    async def start_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Start the guest."""
        await self._parts.driver.start_guest(command.instance_uuid)
        return await self._changed(command)

    @instance_events.wrap_instance_event("compute")
    async def stop_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Take the guest's power; one that has shut itself down is off already."""
        await self._parts.driver.power_off_guest(command.instance_uuid)
        return await self._changed(command)

    @instance_events.wrap_instance_event("compute")
    async def reboot_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Take the guest's power, where it has not shut itself down, and start it."""
        await self._parts.driver.power_off_guest(command.instance_uuid)
        await self._parts.driver.start_guest(command.instance_uuid)
        return await self._changed(command)

    @instance_events.wrap_instance_event("compute")
    async def suspend_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Save the guest's memory."""
        await self._parts.driver.suspend_guest(command.instance_uuid)
        return await self._changed(command)

    @instance_events.wrap_instance_event("compute")
    async def resume_instance(self, command: messages.ChangePower) -> messages.PowerChanged:
        """Start the guest with the memory that was saved."""
        await self._parts.driver.start_guest(command.instance_uuid)
        return await self._changed(command)

    async def _changed(self, command: messages.ChangePower) -> messages.PowerChanged:
        return messages.PowerChanged(state=(await self._parts.driver.observe_guest(command.instance_uuid)).state)

    async def _require_no_job(self, command: messages.Command) -> None:
        seen = await self._parts.driver.observe_guest(command.instance_uuid)
        if seen.has_job:
            raise errors.JobActive(job="migration", host=self._parts.host.name)
