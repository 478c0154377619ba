# SPDX-License-Identifier: Apache-2.0
"""Step: read both hypervisors and give the verdict on the transfer, by the truth table."""

from __future__ import annotations

import asyncio
import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import guest, instance_actions, migration, operation, progress, states, truth
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
_FOR_BROKEN = frozenset({operation.IntentKind.RESUME_POST_COPY, operation.IntentKind.GIVE_UP})
#: Words with which an agent's detail begins when nobody asked for the abort: the deadline, and bounds that cannot hold.
_BY_THE_CLOCK = frozenset({"deadline", "max_pause", "max_post_copy"})
#: Reasons that tell whom it waits for.
_SILENT = frozenset({"source_unreachable", "destination_unreachable"})
_BROKEN = migration.Reason(
    slug="post_copy_broken",
    message="Post-copy has lost its connection; both sides are kept, and its source goes on trying to resume it.",
    remedy="Mend the network between the two hosts; resume_post_copy tries at once, give_up ends the migration in error.",
)
_GIVEN_UP = migration.Reason(
    slug="post_copy_given_up",
    message="Post-copy lost its connection and was given up on request; each side holds a part of the guest, and both are kept.",
    remedy="The two parts can still be joined by the hypervisor's own means; once they are, or are lost, reset the server's state.",
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    source: guest.Observation
    destination: guest.Observation
    intent: truth.LastIntent
    intent_detail: str
    #: What the hypervisor's call ended with; for the event, never for the verdict.
    call_error: str
    was_hypervisor_lost: bool
    #: Whether the source has reported the end of its job.
    has_ended: bool
    #: The last counters of the transfer.
    progress: progress.Progress | None
    #: What was done to the transfer on its way, by the clock or by request, with the numbers: each has an event of its own.
    actions: tuple[str, ...] = ()


class Settle:
    """Asks both sides, and asks again as long as one of them is silent or still busy."""

    name = operation.StepName.SETTLE

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road here: what became of the guest must be known."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Read, judge, and move to the finish or to the undo."""
        reading = await self._read(on)
        return _counted(on, reading, await self._judge(on, reading))

    async def undo(self, on: drive.Drive) -> None:
        """Reading changes nothing."""

    async def _judge(self, on: drive.Drive, reading: _Reading) -> drive.Answer:
        sides = truth.Sides(
            source=reading.source.state,
            destination=reading.destination.state,
            has_job=reading.source.has_job or reading.destination.has_job,
        )
        verdict = truth.verdict(sides, reading.intent)
        _log.debug(
            "Both sides were read.", migration_id=on.operation.id, source=sides.source, destination=sides.destination, verdict=verdict
        )
        if verdict is not truth.Verdict.CONFLICT:
            on.contradiction_since = None
        if verdict is truth.Verdict.COMPLETED:
            return self._arrived(on, reading)
        if verdict in (truth.Verdict.FAILED, truth.Verdict.CANCELLED, truth.Verdict.GUEST_GONE):
            return self._undo(on, verdict, reading)
        if verdict is truth.Verdict.CONFLICT:
            return self._contradiction(on)
        if reading.source.has_job and not reading.has_ended:
            return _back_to_transfer(on)
        if verdict is truth.Verdict.BROKEN_POST_COPY and await self._is_given_up(on):
            return drive.kept_as_evidence(_GIVEN_UP)
        return self._wait(on, verdict, sides)

    async def _read(self, on: drive.Drive) -> _Reading:
        reports = await on.told.read(on.store)
        ended = next((one for one in reversed(reports) if one.kind is operation.ReportKind.TRANSFER_ENDED), None)
        told = messages.TransferEnded.model_validate(ended.body) if ended is not None else None
        on.readings += 1
        if told is not None and on.readings == 1:
            # The agent read the source as the job ended; asked again only when that reading did not settle it.
            destination = await _observe(on, on.destination)
            source = messages.Observed(observation=told.observation, intent=told.intent, intent_detail=told.intent_detail)
        else:
            source, destination = await asyncio.gather(_observe(on, on.plan.source), _observe(on, on.destination))
        return _Reading(
            source=source.observation,
            destination=destination.observation,
            intent=source.intent,
            intent_detail=source.intent_detail,
            call_error=told.call_error if told is not None else "",
            was_hypervisor_lost=told is not None and told.was_hypervisor_lost,
            has_ended=told is not None,
            progress=told.progress if told is not None else None,
            actions=tuple(str(one.body.get("detail", "")) for one in reports if one.kind is operation.ReportKind.ACTION_TAKEN),
        )

    def _arrived(self, on: drive.Drive, reading: _Reading) -> drive.Advance:
        # It may have arrived before its source could report that it began.
        # A success with a story: what the deadline did, and how a broken post-copy was mended.
        details = "; ".join(drive.headline(one) for one in reading.actions) or None
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.SUCCESS, details=details)
        is_unreported = on.migration.status is states.Status.PREPARING
        return drive.Advance(
            transition=operation.Transition(
                step=operation.StepName.FINISH,
                event=states.Event.TRANSFER_STARTED if is_unreported else None,
                clear_reason=True,
                finished=(_transfer_finish(on, outcome),),
                started=(instance_actions.EventStart(name=instance_actions.EventName.FINISH, host=on.destination),),
            )
        )

    def _undo(self, on: drive.Drive, verdict: truth.Verdict, reading: _Reading) -> drive.Advance:
        ending = migration.Ending(
            event=states.Event.ABORTED if verdict is truth.Verdict.CANCELLED else states.Event.ROLLED_BACK,
            reason=_why(on, verdict, reading),
            guest_state=_without_us(on, reading.source.state),
        )
        details = drive.headline(ending.reason.message) if reading.actions else ending.reason.message
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=details)
        transition = drive.undo(
            ending,
            on.plan,
            finished=(_transfer_finish(on, outcome),),
            started=(instance_actions.EventStart(name=instance_actions.EventName.ROLL_BACK, host=on.destination),),
        )
        return drive.Advance(transition=transition)

    def _contradiction(self, on: drive.Drive) -> drive.Answer:
        now = on.clock.monotonic()
        if on.contradiction_since is None:
            on.contradiction_since = now
        if now - on.contradiction_since < on.config.conductor.contradiction_grace_seconds:
            return drive.Wait(seconds=_PAUSES_SECONDS[-1], why="both sides show the guest")
        reason = migration.Reason(
            slug="two_hosts",
            message=f"Both {on.plan.source} and {on.destination} show the guest as theirs; neither was touched.",
            remedy="Compare the two guests, destroy the wrong one on its host, then reset the server's state.",
        )
        return drive.kept_as_evidence(reason)

    async def _is_given_up(self, on: drive.Drive) -> bool:
        """Have the source do what was asked about the broken post-copy; whether that was to give it up."""
        for intent in on.intents:
            if intent.kind not in _FOR_BROKEN:
                continue
            try:
                await on.ask(on.plan.source, messages.DeliverIntent(**on.ids, kind=intent.kind, request_id=intent.request_id))
            except errors.NoActiveTransfer:
                # It was mended meanwhile, which the next reading shows.
                return False
            if intent.kind is operation.IntentKind.GIVE_UP:
                return True
            await on.store.run(_served(on, intent))
            on.intents = tuple(one for one in on.intents if one.id != intent.id)
        return False

    def _wait(self, on: drive.Drive, verdict: truth.Verdict, sides: truth.Sides) -> drive.Answer:
        reason = _waiting_for(on, verdict, sides)
        if reason is None and on.migration.reason is not None and on.migration.reason.slug == _BROKEN.slug:
            return drive.Advance(transition=operation.Transition(clear_reason=True))
        if reason is not None and (on.migration.reason is None or on.migration.reason.slug != reason.slug):
            return drive.Advance(transition=operation.Transition(reason=reason))
        return drive.Wait(seconds=_PAUSES_SECONDS[min(on.readings, len(_PAUSES_SECONDS)) - 1], why=verdict.value)


def _counted(on: drive.Drive, reading: _Reading, answer: drive.Answer) -> drive.Answer:
    """Have the last counters stored with whatever is stored; the record that they follow is as new as the step before this one."""
    if reading.progress is None or isinstance(answer, drive.Wait):
        return answer
    last = progress.following(on.migration.progress, reading.progress)
    return dataclasses.replace(answer, transition=dataclasses.replace(answer.transition, progress=last))


def _back_to_transfer(on: drive.Drive) -> drive.Advance:
    """Go back to a transfer that goes on after all: its source was silent for long, or called dead, and answers again.

    There it is told to watch its job, and what was asked of it meanwhile is delivered.
    """
    _log.info("The transfer goes on after all.", migration_id=on.operation.id, host=on.plan.source)
    on.has_commanded = False
    on.delivered.clear()
    on.readings = 0
    return drive.Advance(transition=operation.Transition(step=operation.StepName.TRANSFER, clear_reason=True))


async def _observe(on: drive.Drive, host: str) -> messages.Observed:
    """Read one side. Silence is UNREACHABLE, which is never absent, unless an operator has said that the host is dead.

    So is a hypervisor that gives an error instead of an answer.
    """
    try:
        return await on.ask(host, messages.ObserveGuest(**on.ids))
    except (errors.LeaseLost, errors.StaleEpoch, errors.DatabaseUnavailable):
        raise
    except errors.Error as error:
        record = await on.store.read(lambda uow: uow.hosts.get(host))
        state = guest.GuestState.ABSENT if record.is_forced_down else guest.GuestState.UNREACHABLE
        return messages.Observed(observation=guest.Observation(state=state, detail=error.message))


def _why(on: drive.Drive, verdict: truth.Verdict, reading: _Reading) -> migration.Reason:
    detail = reading.intent_detail or reading.call_error or reading.source.detail
    if verdict is truth.Verdict.CANCELLED:
        origin = reading.intent_detail.partition(":")[0]
        slug = origin if origin in _BY_THE_CLOCK else "requested"
        return migration.Reason(slug=slug, message=f"Aborted: {detail}" if detail else "Aborted on request.")
    if verdict is truth.Verdict.GUEST_GONE:
        return migration.Reason(
            slug="guest_stopped",
            message="The guest was stopped or destroyed by someone else while it was being migrated.",
            remedy="Start it where its disks are.",
        )
    if reading.was_hypervisor_lost:
        return migration.Reason(
            slug="hypervisor_connection_lost",
            message=f"The hypervisor of {on.plan.source} was lost, and with it the transfer: {detail or 'it came back without one.'}",
            remedy=f"See why the hypervisor's daemon on {on.plan.source} ended, then ask again.",
        )
    known = on.migration.reason
    if on.migration.status is states.Status.PREPARING and not reading.has_ended and known is not None and known.slug not in _SILENT:
        # What the source answered instead of starting.
        return known
    return migration.Reason(slug="hypervisor_failed", message=f"The hypervisor ended the transfer: {detail or 'it gave no reason.'}")


def _without_us(on: drive.Drive, seen: guest.GuestState) -> guest.GuestState:
    """Give the state that the guest has once the undo resumed what we had paused."""
    was_running = on.guest.state is guest.GuestState.RUNNING
    paused_by_transfer = seen is guest.GuestState.PAUSED_FOR_SWITCH_OVER
    return guest.GuestState.RUNNING if was_running and paused_by_transfer else seen


def _waiting_for(on: drive.Drive, verdict: truth.Verdict, sides: truth.Sides) -> migration.Reason | None:
    if verdict is truth.Verdict.BROKEN_POST_COPY:
        return _BROKEN
    if sides.source is guest.GuestState.UNREACHABLE:
        return drive.unreachable("source_unreachable", on.plan.source)
    if sides.destination is guest.GuestState.UNREACHABLE:
        return drive.unreachable("destination_unreachable", on.destination)
    return None


def _served(on: drive.Drive, intent: operation.Intent) -> stores.Unit[None]:
    """Open and close the event of the intent's own action: the source has taken it up."""
    name = drive.INTENT_EVENTS[intent.kind]

    async def unit(uow: uows.UnitOfWork) -> None:
        start = instance_actions.EventStart(name=name, host=on.plan.source)
        await uow.actions.start_event(on.operation.instance_uuid, intent.request_id, start)
        finish = instance_actions.EventFinish(
            name=name, host=on.plan.source, outcome=instance_actions.SUCCEEDED, request_id=intent.request_id
        )
        await uow.operations.acknowledge_intent(intent, finish)

    return unit


def _transfer_finish(on: drive.Drive, outcome: instance_actions.EventOutcome) -> instance_actions.EventFinish:
    return instance_actions.EventFinish(name=instance_actions.EventName.TRANSFER, host=on.plan.source, outcome=outcome)
