# SPDX-License-Identifier: Apache-2.0
"""Step: have the source take the guest's power, if it is on still, and send its disks; follow how far that is."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps.cold import ends
from wherry.db.repositories import migrations
from wherry.model import instance_actions, operation, server, states
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Move:
    """Asks again and again: each answer says how far it is, and a source that has forgotten begins anew."""

    name = operation.StepName.MOVE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state begins the undo."""
        return ends.aborted(on)

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Ask, and go on when all is there."""
        command = messages.MoveGuest(**on.moving, wait_seconds=on.config.conductor.move_poll_interval_seconds)
        try:
            answer = await ends.ask(on, on.plan.source, command)
        except ends.HostDead:
            return ends.undo(on, states.Event.ROLLED_BACK, ends.dead(on.plan.source))
        except (*ends.NOT_OURS, errors.StaleEpoch):
            raise
        except errors.Error as error:
            if ends.is_passing(on, error):
                raise
            return ends.undo(on, states.Event.ROLLED_BACK, drive.reason_of(error))
        on.attempts = 0
        counters = answer.progress
        if counters is not None:
            counted = migrations.Counted(uuid=on.migration.uuid, host=on.plan.source, counters=counters)
            await on.store.run(lambda uow: uow.migrations.record_progress([counted]))
        if not answer.is_done:
            return drive.Wait(seconds=0, why="the disks are being sent")
        leaving = dataclasses.replace(on.guest, definition=answer.definition) if answer.definition else on.guest
        _log.info("The guest is off and its disks are sent.", migration_id=on.migration.uuid, source=on.plan.source)
        transition = operation.Transition(
            step=operation.StepName.FINISH,
            event=states.Event.MOVED,
            plan=ends.with_plan(on, guest=leaving),
            server=server.ServerChange(task_state=server.TaskState.RESIZE_MIGRATED),
            finished=(
                instance_actions.EventFinish(name=instance_actions.EventName.RESIZE_INSTANCE, host=on.plan.source, outcome=answer.outcome),
            ),
            started=(instance_actions.EventStart(name=instance_actions.EventName.FINISH_RESIZE, host=on.destination),),
        )
        return drive.Advance(transition=transition)

    async def undo(self, on: drive.Drive) -> None:
        """Have the source stop sending and take its guest up again."""
        await ends.ask(on, on.plan.source, messages.RestoreSource(**on.moving))
