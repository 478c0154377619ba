# SPDX-License-Identifier: Apache-2.0
"""The commands of cold migrations and resizes, let in by the fence, done by `moves`. Does nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from wherry.agent import fencing, inventory, moves
from wherry.rpc import messages
from wherry.rpc import server as rpc_server

C = TypeVar("C", bound=messages.MoveCommand)
R = TypeVar("R", bound=messages.Message)


class MoveEndpoints:
    """Those commands of one agent."""

    def __init__(self, fence: fencing.Fence, role: moves.Moves, reports: inventory.Inventory) -> None:
        self._fence = fence
        self._moves = role
        self._inventory = reports

    def register(self, server: rpc_server.Server) -> None:
        """Have the server give each command to its endpoint."""
        server.register(messages.PrepResize, self.prep_resize)
        server.register(messages.CheckDeparture, self.check_departure)
        server.register(messages.CheckReturn, self.check_return)
        server.register(messages.PrepareArrival, self.prepare_arrival)
        server.register(messages.MoveGuest, self.move_guest)
        server.register(messages.FinishResize, self.finish_resize)
        server.register(messages.DiscardArrival, self.discard_arrival)
        server.register(messages.RestoreSource, self.restore_source)
        server.register(messages.RevertResize, self.revert_resize)
        server.register(messages.FinishRevertResize, self.finish_revert_resize)
        server.register(messages.StartAgain, self.start_again)
        server.register(messages.ConfirmSource, self.confirm_source)
        server.register(messages.ConfirmDestination, self.confirm_destination)

    async def prep_resize(self, _sender: str, command: messages.PrepResize) -> messages.DestinationChecked:
        return await self._fence.run(command, self._moves.prep_resize)

    async def check_departure(self, _sender: str, command: messages.CheckDeparture) -> messages.DepartureChecked:
        return await self._fence.run(command, self._moves.check_departure)

    async def check_return(self, _sender: str, command: messages.CheckReturn) -> messages.FinishedAtDestination:
        return await self._fence.run(command, self._moves.check_return)

    async def prepare_arrival(self, _sender: str, command: messages.PrepareArrival) -> messages.StageDone:
        return await self._fence.run(command, self._in_place(self._moves.prepare_arrival))

    async def move_guest(self, _sender: str, command: messages.MoveGuest) -> messages.Moving:
        return await self._fence.run(command, self._in_place(self._moves.move_guest))

    async def finish_resize(self, _sender: str, command: messages.FinishResize) -> messages.FinishedAtDestination:
        return await self._reported(command, self._fence.run(command, self._in_place(self._moves.finish_resize)))

    async def discard_arrival(self, _sender: str, command: messages.DiscardArrival) -> messages.StageDone:
        done = self._fence.run(command, self._moves.discard_arrival, final_reply=messages.StageDone)
        return await self._reported(command, done)

    async def restore_source(self, _sender: str, command: messages.RestoreSource) -> messages.FinishedAtDestination:
        done = self._fence.run(command, self._moves.restore_source, final_reply=messages.FinishedAtDestination)
        return await self._reported(command, done)

    async def revert_resize(self, _sender: str, command: messages.RevertResize) -> messages.StageDone:
        return await self._fence.run(command, self._moves.revert_resize)

    async def finish_revert_resize(self, _sender: str, command: messages.FinishRevertResize) -> messages.FinishedAtDestination:
        done = self._fence.run(command, self._moves.finish_revert_resize, final_reply=messages.FinishedAtDestination)
        return await self._reported(command, done)

    async def start_again(self, _sender: str, command: messages.StartAgain) -> messages.FinishedAtDestination:
        return await self._reported(command, self._fence.run(command, self._moves.start_again))

    async def confirm_source(self, _sender: str, command: messages.ConfirmSource) -> messages.StageDone:
        return await self._fence.run(command, self._moves.confirm_resize, final_reply=messages.StageDone)

    async def confirm_destination(self, _sender: str, command: messages.ConfirmDestination) -> messages.StageDone:
        return await self._fence.run(command, self._moves.confirm_destination, final_reply=messages.StageDone)

    def _in_place(self, stage: Callable[[C], Awaitable[R]]) -> Callable[[C], Awaitable[R]]:
        """Make this the guest's migration on this host before the stage runs."""

        async def run(command: C) -> R:
            await self._fence.take_place(command)
            return await stage(command)

        return run

    async def _reported(self, command: messages.MoveCommand, stage: Awaitable[R]) -> R:
        """Have the conductor told of the guest as it is then, whatever came of it, also where nobody waits for the answer any more."""
        try:
            return await stage
        finally:
            self._inventory.report(command.instance_uuid)
