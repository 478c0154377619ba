# SPDX-License-Identifier: Apache-2.0
"""Safeguards, each broken on purpose: if the simulation did not notice, it would be too tame, or the safeguard superfluous.

A mutation changes the product's classes for the whole process: it is applied in one that does nothing else.
Each names the kind of schedules (`directed.KINDS`) in which what it breaks matters most; none where any schedule will do.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from wherry import errors
from wherry.agent import fencing, hand_over, interventions, moves, recovery, reporting, source
from wherry.agent import journal as wherry_journal
from wherry.conductor import chores, drive, intents, inventory, lease, orchestrator
from wherry.conductor import recovery as sweeping
from wherry.conductor.steps import admit, roll_back, settle, take_back, transfer
from wherry.conductor.steps.cold import ends
from wherry.conductor.steps.cold import roll_back as cold_roll_back
from wherry.db import session as sessions
from wherry.db import uow as uows
from wherry.db.repositories import operations, reports, transitions
from wherry.drivers import base
from wherry.model import guest, instance_actions, migration, operation, server
from wherry.rpc import messages
from wherry.testing.simulation import disk, hypervisor

MUTATIONS: dict[str, Callable[[], None]] = {}
#: The kind of schedules that each is looked for in; empty for all.
ABOUT: dict[str, str] = {}


def apply(name: str) -> None:
    """Break a safeguard in this process, for as long as it lives; an empty name breaks none.

    :raises KeyError: there is none of that name.
    """
    if name:
        MUTATIONS[name]()


def _mutation(about: str = "") -> Callable[[Callable[[], None]], Callable[[], None]]:
    def note(function: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[function.__name__] = function
        ABOUT[function.__name__] = about
        return function

    return note


def _put(owner: Any, name: str, value: Any) -> None:
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name} any more; the mutation must follow")
    setattr(owner, name, value)


async def _nothing(*_arguments: Any, **_named: Any) -> None:
    return None


# -------------------------------------------------------------------- conductor


@_mutation("stalls")
def lease_check() -> None:
    """A conductor goes on commanding when its lease has run out."""
    _put(lease.Lease, "require", lambda _self, _term=None: None)
    _put(lease.Lease, "is_held", property(lambda _self: True))


@_mutation("stalls")
def lease_number() -> None:
    """A conductor that got its lease again goes on with what it drove under the one that it lost."""
    require = lease.Lease.require
    _put(lease.Lease, "require", lambda self, _term=None: require(self))


@_mutation("stalls")
def generation_check() -> None:
    """Whoever holds an old copy of the operation may write it."""
    store = transitions._store_operation

    async def store_over(session: sessions.Session, one: operation.Operation, *rest: Any, **named: Any) -> Any:
        row = await session.row(operations._BY_ID, {"id": one.id})
        if row is not None:
            # As if what is stored were what was read.
            stored = sessions.record_of(operation.Operation, row)
            one = dataclasses.replace(one, generation=stored.generation, epoch=stored.epoch, owner=stored.owner)
        return await store(session, one, *rest, **named)

    _put(transitions, "_store_operation", store_over)


@_mutation()
def undo_at_the_destination() -> None:
    """What was prepared at the destination is left there."""

    async def succeed(_self: Any, _on: drive.Drive) -> instance_actions.EventOutcome:
        return instance_actions.SUCCEEDED

    _put(roll_back.RollBack, "_at_destination", succeed)


@_mutation("lost_arrivals")
def undo_at_the_source() -> None:
    """The guest that a transfer left paused is not resumed."""
    _put(source.Source, "_must_resume", lambda *_arguments: False)


@_mutation()
def admission_count() -> None:
    """Slots are taken without counting them."""
    _put(admit, "_full", lambda _on, _counts: None)


@_mutation()
def admission_lock() -> None:
    """Slots are counted before they are taken, and not where they are taken, under lock."""
    _put(admit.Admit, "_take_slots", lambda _self, _on: _nothing)


@_mutation()
def chore_creation() -> None:
    """What a silent host is owed is forgotten."""
    _put(chores, "owe", _nothing)


@_mutation()
def unreachable_is_not_absent() -> None:
    """A host that does not answer counts as one that has nothing."""
    observe = settle._observe

    async def guess(on: drive.Drive, host: str) -> messages.Observed:
        seen = await observe(on, host)
        if seen.observation.state is guest.GuestState.UNREACHABLE:
            return messages.Observed(observation=guest.Observation(state=guest.GuestState.ABSENT))
        return seen

    _put(settle, "_observe", guess)


@_mutation("aborts")
def intent_redelivery() -> None:
    """An abort is sent once, whether or not its source has taken it up; nor is it sent again with what a silent source is told again."""
    deliver = transfer.Transfer._deliver_intents
    sent: set[tuple[str, int, int]] = set()

    async def deliver_once(self: transfer.Transfer, on: drive.Drive) -> None:
        named = {intent.id: (on.operation.id, on.operation.epoch, intent.id) for intent in on.intents}
        on.delivered.update(number for number, name in named.items() if name in sent)
        sent.update(named.values())
        await deliver(self, on)

    _put(transfer.Transfer, "_deliver_intents", deliver_once)


@_mutation("checks")
def stored_before_it_is_told() -> None:
    """A destination is told to forget a migration before it is stored that the migration goes elsewhere, or nowhere."""
    store_advance = orchestrator.Orchestrator._store_advance

    async def tell_first(self: Any, on: drive.Drive, answer: drive.Advance) -> None:
        for owed in answer.owed:
            await chores.ask_or_owe(on, owed.host, owed.command)
        await store_advance(self, on, dataclasses.replace(answer, owed=()))

    _put(orchestrator.Orchestrator, "_store_advance", tell_first)


@_mutation()
def sweep() -> None:
    """What nobody drives is not looked for: a lost nudge is a lost request."""

    async def look(_self: Any, _uow: Any) -> tuple[list[str], list[str], dict[str, int]]:
        return [], [], {}

    _put(sweeping.Recovery, "_look", look)


@_mutation("inventories")
def inventory_keeps_off() -> None:
    """Inventories change servers whose operation is under way: neither they nor the store looks whether there is one."""

    async def write_over(uow: uows.UnitOfWork, record: server.Server, changes: dict[str, Any]) -> None:
        with contextlib.suppress(errors.StaleWrite):
            await uow.servers.update(record, in_operation=True, **changes)

    _put(inventory, "_is_free", lambda _record: True)
    _put(inventory, "_update", write_over)


@_mutation("reports")
def one_fact_once() -> None:
    """A report that comes twice is two facts."""
    store = reports.Reports.store

    async def store_again(self: Any, report: Any) -> bool:
        await store(self, report)
        return True

    _put(reports.Reports, "store", store_again)


# ------------------------------------------------------------------------ agent


@_mutation("stalls")
def epoch_fence() -> None:
    """An agent obeys an earlier owner's commands."""
    _put(fencing.Fence, "_refuse_lower", lambda *_arguments: None)


@_mutation("starts")
def tombstones() -> None:
    """An agent forgets that a migration was ended, and obeys what comes late."""
    _put(fencing.Fence, "_refuse_ended", lambda *_arguments: None)
    finish = wherry_journal.Journal.finish

    async def finish_and_forget(self: Any, entry: wherry_journal.Entry, command: str, reply: messages.Message) -> None:
        await finish(self, entry, command, reply)
        entry.end = None

    _put(wherry_journal.Journal, "finish", finish_and_forget)


@_mutation("starts")
def one_step_at_a_time() -> None:
    """A command that comes twice does not join the step in progress, and steps of one guest take no turns."""
    _put(fencing.Fence, "run", _run_at_once)


async def _run_at_once(self: Any, command: Any, step: Any, *, final_reply: Any = None) -> Any:
    entry = await self._raise_epoch(command)
    reply = await step(command)
    if final_reply is not None:
        await self._parts.journal.finish(entry, type(command).__name__, reply)
    return reply


@_mutation("deadlines")
def adoption() -> None:
    """An agent that comes back leaves the transfers alone that went on without it."""
    _put(recovery, "recover", _nothing)


@_mutation("deadlines")
def deadline_persistence() -> None:
    """A deadline begins anew with each agent."""
    adopt = source.Source.adopt

    async def adopt_anew(self: Any, entry: wherry_journal.Entry) -> None:
        if entry.transfer is not None:
            entry.transfer.began_boot_seconds = self._parts.boot_clock.seconds()
            entry.transfer.boot_id = self._parts.boot_clock.boot_id()
        await adopt(self, entry)

    _put(source.Source, "adopt", adopt_anew)


@_mutation("lost_replies")
def suspension_after_a_lost_reply() -> None:
    """A guest that its hypervisor resumed after the hand-over runs on at the source, too."""

    async def look_away(_self: Any, _note: wherry_journal.TransferNote) -> None:
        return None

    _put(interventions.Interventions, "suspend_after_hand_over", look_away)


@_mutation("lost_replies")
def hand_over_is_noted() -> None:
    """Nobody notes that the destination may have the guest."""
    _put(hand_over.HandOver, "_may_run_elsewhere", lambda *_arguments: False)


@_mutation("lost_replies")
def unseen_hand_over() -> None:
    """An agent that was away takes a guest that runs again for one that was never handed over."""
    _put(hand_over.HandOver, "_was_watched", lambda _self: True)


@_mutation("reports")
def report_acknowledgement() -> None:
    """A report is sent once, whether or not somebody stored it."""
    send = reporting.Reporter._send

    async def send_once(self: Any, entry: wherry_journal.Entry, fact: wherry_journal.Fact, timeout_seconds: float) -> bool:
        if not await send(self, entry, fact, timeout_seconds) and fact in entry.unacknowledged:
            entry.unacknowledged.remove(fact)
        return True

    _put(reporting.Reporter, "_send", send_once)


@_mutation()
def only_what_was_created() -> None:
    """An undo removes every disk that would have been copied, whoever made it."""
    roll_back_destination = hypervisor.SimulatedHypervisor.roll_back_destination

    async def roll_back_all(self: Any, task: base.Task, plan: migration.Plan) -> None:
        disks = frozenset(one.source for one in plan.guest.disks) if plan.guest is not None else frozenset()
        await roll_back_destination(self, dataclasses.replace(task, created=task.created | disks), plan)

    _put(hypervisor.SimulatedHypervisor, "roll_back_destination", roll_back_all)


@_mutation()
def synced_notes() -> None:
    """Nothing of the journal is forced to the disk: a power failure takes what was written last."""
    write = disk.SimulatedStorage.write

    async def write_loosely(self: Any, name: str, data: bytes, *, is_synced: bool) -> None:
        del is_synced
        await write(self, name, data, is_synced=False)

    _put(disk.SimulatedStorage, "write", write_loosely)


@_mutation("starts")
def start_is_noted_first() -> None:
    """A transfer is noted once it is under way, not before."""
    save = wherry_journal.Journal.save

    async def save_started_ones(self: Any, entry: wherry_journal.Entry, *, is_synced: bool = False) -> None:
        if entry.transfer is None or entry.transfer.is_started:
            await save(self, entry, is_synced=is_synced)

    _put(wherry_journal.Journal, "save", save_started_ones)


# --------------------------------------------------------------- cold migrations


@_mutation("moves")
def undo_of_a_move_at_the_destination() -> None:
    """What a move that is undone brought to its destination is left there, running perhaps, before the source starts its guest."""

    async def succeed(_self: Any, _on: drive.Drive) -> instance_actions.EventOutcome:
        return instance_actions.SUCCEEDED

    _put(cold_roll_back.RollBack, "_at_destination", succeed)


@_mutation("moves")
def stop_before_the_way_back() -> None:
    """The source takes its guest up again while the destination runs it."""
    ask = ends.ask

    async def skip(on: drive.Drive, host: str, command: Any) -> Any:
        return messages.StageDone() if isinstance(command, messages.RevertResize) else await ask(on, host, command)

    _put(ends, "ask", skip)


@_mutation("moves")
def copy_noted_when_it_is_whole() -> None:
    """Disks are noted as sent before they are."""
    send = moves.Moves._send

    async def send_late(self: moves.Moves, entry: wherry_journal.Entry, command: messages.MoveGuest, sending: Any) -> None:
        entry.move = wherry_journal.MoveNote(is_sent=True)
        await self._parts.journal.save(entry, is_synced=True)
        await send(self, entry, command, sending)

    _put(moves.Moves, "_send", send_late)


# ------------------------------------------------------------- servers that are made


@_mutation("births")
def take_back_of_a_build() -> None:
    """What a build that failed has made stays where it is."""

    async def take_nothing_back(_self: Any, on: drive.Drive) -> drive.Answer:
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="it could not be made")
        return take_back.failed(on, outcome, "it could not be made")

    _put(take_back.TakeBack, "execute", take_nothing_back)


@_mutation("births")
def disks_of_others() -> None:
    """A deletion removes every disk of the guest, whoever made it."""
    destroy_guest = hypervisor.SimulatedHypervisor.destroy_guest

    async def destroy_all(self: Any, task: base.Task) -> None:
        found = await self.describe_guests([task.instance_uuid])
        disks = frozenset(disk.source for one in found for disk in one.disks)
        await destroy_guest(self, dataclasses.replace(task, created=task.created | disks))

    _put(hypervisor.SimulatedHypervisor, "destroy_guest", destroy_all)


@_mutation("births")
def deletion_after_the_outcome() -> None:
    """A deletion that was asked for while something else was under way is forgotten with its end."""
    _put(intents, "_begin_deletion", _nothing)
