# SPDX-License-Identifier: Apache-2.0
"""Every command that an agent obeys, by the message's type: let in by the fence, done by the role that it concerns.

Does nothing itself. Only conductors are obeyed: the bus's permissions let nobody else send here.
"""

from __future__ import annotations

import dataclasses

from wherry.agent import building as wherry_building
from wherry.agent import destination as wherry_destination
from wherry.agent import fencing
from wherry.agent import inventory as wherry_inventory
from wherry.agent import power as wherry_power
from wherry.agent import source as wherry_source
from wherry.rpc import messages
from wherry.rpc import server as rpc_server


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """What one host does."""

    source: wherry_source.Source
    destination: wherry_destination.Destination
    power: wherry_power.Power
    building: wherry_building.Building


class Endpoints:
    """The commands of one agent."""

    def __init__(
        self,
        fence: fencing.Fence,
        roles: Roles,
        inventory: wherry_inventory.Inventory,
    ) -> None:
        self._fence = fence
        self._source = roles.source
        self._destination = roles.destination
        self._power = roles.power
        self._building = roles.building
        self._inventory = inventory

    def register(self, server: rpc_server.Server) -> None:
        """Have the server give each command to its endpoint."""
        server.register(messages.DescribeGuest, self.describe_guest)
        server.register(messages.ObserveGuest, self.observe_guest)
        server.register(messages.MeasureGuest, self.measure_guest)
        server.register(messages.CheckDestination, self.check_destination)
        server.register(messages.CheckSource, self.check_source)
        server.register(messages.ReleaseCheck, self.release_check)
        server.register(messages.PrepareDestination, self.prepare_destination)
        server.register(messages.StartTransfer, self.start_transfer)
        server.register(messages.DeliverIntent, self.deliver_intent)
        server.register(messages.FinishDestination, self.finish_destination)
        server.register(messages.FinishSource, self.finish_source)
        server.register(messages.RollBackDestination, self.roll_back_destination)
        server.register(messages.RollBackSource, self.roll_back_source)
        server.register(messages.ShutDownGuest, self.shut_down_guest)
        server.register(messages.ChangePower, self.change_power)
        server.register(messages.BuildGuest, self.build_guest)
        server.register(messages.DestroyGuest, self.destroy_guest)
        server.register(messages.ReadConsole, self.read_console)

    async def describe_guest(self, _sender: str, command: messages.DescribeGuest) -> messages.DescribedGuest:
        return await self._fence.read(command, self._source.describe_guest)

    async def observe_guest(self, _sender: str, command: messages.ObserveGuest) -> messages.Observed:
        return await self._fence.read(command, self._source.observe_guest)

    async def measure_guest(self, _sender: str, command: messages.MeasureGuest) -> messages.GuestMeasured:
        return await self._fence.read(command, self._source.measure_guest)

    async def check_destination(self, _sender: str, command: messages.CheckDestination) -> messages.DestinationChecked:
        return await self._fence.run(command, self._destination.check)

    async def check_source(self, _sender: str, command: messages.CheckSource) -> messages.SourceChecked:
        return await self._fence.run(command, self._source.check_can_live_migrate_source)

    async def release_check(self, _sender: str, command: messages.ReleaseCheck) -> messages.Done:
        return await self._fence.run(command, self._destination.release_check)

    async def prepare_destination(self, _sender: str, command: messages.PrepareDestination) -> messages.StageDone:
        async def prepare(command: messages.PrepareDestination) -> messages.StageDone:
            await self._fence.take_place(command)
            return await self._destination.pre_live_migration(command)

        return await self._fence.run(command, prepare)

    async def start_transfer(self, _sender: str, command: messages.StartTransfer) -> messages.Done:
        async def start(command: messages.StartTransfer) -> messages.Done:
            await self._fence.take_place(command)
            return await self._source.start_transfer(command)

        return await self._fence.run(command, start)

    async def deliver_intent(self, _sender: str, command: messages.DeliverIntent) -> messages.Done:
        return await self._fence.note(command, self._source.deliver_intent)

    async def finish_destination(self, _sender: str, command: messages.FinishDestination) -> messages.FinishedAtDestination:
        reply = await self._fence.run(
            command, self._destination.post_live_migration_at_destination, final_reply=messages.FinishedAtDestination
        )
        self._inventory.report(command.instance_uuid)
        return reply

    async def finish_source(self, _sender: str, command: messages.FinishSource) -> messages.Done:
        return await self._fence.run(command, self._source.finish_source, final_reply=messages.Done)

    async def roll_back_destination(self, _sender: str, command: messages.RollBackDestination) -> messages.StageDone:
        return await self._fence.run(command, self._destination.rollback_live_migration_at_destination, final_reply=messages.StageDone)

    async def roll_back_source(self, _sender: str, command: messages.RollBackSource) -> messages.Done:
        return await self._fence.run(command, self._source.roll_back_source, final_reply=messages.Done)

    async def shut_down_guest(self, _sender: str, command: messages.ShutDownGuest) -> messages.Observed:
        async def shut_down(command: messages.ShutDownGuest) -> messages.Observed:
            await self._fence.take_place(command)
            return await self._power.shut_down(command)

        return await self._fence.run(command, shut_down)

    async def change_power(self, _sender: str, command: messages.ChangePower) -> messages.PowerChanged:
        async def change(command: messages.ChangePower) -> messages.PowerChanged:
            await self._fence.take_place(command)
            return await self._power.change_power(command)

        try:
            return await self._fence.run(command, change, final_reply=messages.PowerChanged)
        finally:
            # Whatever came of it, and also where nobody waits for the answer any more.
            self._inventory.report(command.instance_uuid)

    async def build_guest(self, _sender: str, command: messages.BuildGuest) -> messages.GuestBuilt:
        async def build(command: messages.BuildGuest) -> messages.GuestBuilt:
            await self._fence.take_place(command)
            return await self._building.build(command)

        return await self._fence.run(command, build)

    async def destroy_guest(self, _sender: str, command: messages.DestroyGuest) -> messages.StageDone:
        async def destroy(command: messages.DestroyGuest) -> messages.StageDone:
            await self._fence.take_place(command)
            return await self._building.terminate_instance(command)

        return await self._fence.run(command, destroy, final_reply=messages.StageDone)

    async def read_console(self, _sender: str, command: messages.ReadConsole) -> messages.ConsoleRead:
        return await self._fence.read(command, self._building.read_console)
