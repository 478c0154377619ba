# SPDX-License-Identifier: Apache-2.0
"""The decorator: which name, which outcome, told when."""

from __future__ import annotations

import asyncio

import pytest

from wherry import errors
from wherry.model import instance_actions
from wherry.rpc import instance_events, messages

pytestmark = pytest.mark.unit

_MESSAGE = messages.AboutOperation(operation_id="4faf4ab5-612b-4590-a0af-4aaea0450e5b")


class Sink:
    def __init__(self) -> None:
        self.told: list[tuple[str, instance_actions.EventName, instance_actions.EventOutcome | None]] = []

    async def started(self, name: instance_actions.EventName, message: messages.AboutOperation) -> None:
        self.told.append(("started", name, None))

    async def finished(
        self, name: instance_actions.EventName, message: messages.AboutOperation, outcome: instance_actions.EventOutcome
    ) -> None:
        self.told.append(("finished", name, outcome))


class Stages:
    def __init__(self, end: Exception | None = None, reply: messages.StageDone | None = None) -> None:
        self.events = Sink()
        self._end = end
        self._reply = reply or messages.StageDone()
        self.release = asyncio.Event()
        self.release.set()

    @instance_events.wrap_instance_event("compute")
    async def pre_live_migration(self, message: messages.AboutOperation) -> messages.StageDone:
        await self.release.wait()
        if self._end is not None:
            raise self._end
        return self._reply


def _outcome(stages: Stages) -> instance_actions.EventOutcome:
    kind, name, outcome = stages.events.told[-1]
    assert (kind, name) == ("finished", instance_actions.EventName.PREPARE)
    assert outcome is not None
    return outcome


async def test_success_carries_what_the_reply_says() -> None:
    warned = instance_actions.EventOutcome(result=instance_actions.Result.SUCCESS, details="no lock")
    stages = Stages(reply=messages.StageDone(outcome=warned))
    await stages.pre_live_migration(_MESSAGE)
    assert stages.events.told[0] == ("started", instance_actions.EventName.PREPARE, None)
    assert _outcome(stages) == warned


async def test_an_error_of_ours_gives_message_and_remedy_without_traceback() -> None:
    stages = Stages(errors.SnapshotsPresent(count=2))
    with pytest.raises(errors.SnapshotsPresent):
        await stages.pre_live_migration(_MESSAGE)
    outcome = _outcome(stages)
    assert outcome.result is instance_actions.Result.ERROR
    assert outcome.details == "The guest has 2 snapshots, which the hypervisor cannot move. Delete the snapshots, or merge them, first."
    assert outcome.traceback is None


async def test_an_unexpected_error_gives_its_traceback() -> None:
    stages = Stages(KeyError("nic"))
    with pytest.raises(KeyError):
        await stages.pre_live_migration(_MESSAGE)
    outcome = _outcome(stages)
    assert outcome.details == "KeyError: 'nic'"
    assert "test_instance_events" in (outcome.traceback or "")


async def test_a_remote_traceback_is_kept() -> None:
    failure = errors.RemoteFailure(detail="boom")
    failure.remote_traceback = "Traceback of the agent"
    assert instance_events.outcome_of(failure).traceback == "Traceback of the agent"


async def test_a_cancelled_stage_stays_open() -> None:
    stages = Stages()
    stages.release.clear()
    task = asyncio.create_task(stages.pre_live_migration(_MESSAGE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [kind for kind, *_ in stages.events.told] == ["started"]


def test_a_name_that_is_no_event_is_an_error_at_import() -> None:
    with pytest.raises(ValueError, match="compute_unknown_stage"):

        @instance_events.wrap_instance_event("compute")
        async def unknown_stage(self: Stages, message: messages.AboutOperation) -> messages.Done:
            return messages.Done()
