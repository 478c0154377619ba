# SPDX-License-Identifier: Apache-2.0
"""What an agent must not forget: per migration the highest epoch, its end, what was begun and created, and what is still to be reported.

Acts on nothing: it keeps notes and gives them back, also to the agent's successor.
"""

from __future__ import annotations

import asyncio
import datetime
import urllib.parse
from collections.abc import Collection
from typing import Any

import pydantic
import pydantic_core

from wherry import clock as wherry_clock
from wherry import errors
from wherry.agent import storage as wherry_storage
from wherry.model import deadline, truth
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


#: Commands with which a guest has come to this host for good.
_ARRIVALS = frozenset({messages.FinishDestination.__name__, messages.ConfirmDestination.__name__})


class _Note(pydantic.BaseModel):
    # An older release must be able to read what a newer one wrote.
    model_config = pydantic.ConfigDict(extra="ignore", validate_assignment=False, defer_build=True)


class Cause(_Note):
    """Why a transfer is to be aborted or forced to complete."""

    #: "deadline", "requested", "max_pause" or "max_post_copy".
    origin: str
    #: Request that asked for it; empty where none did.
    request_id: str = ""
    #: Whether the hypervisor has taken it, or cannot.
    is_applied: bool = False


class TransferNote(_Note):
    """A transfer that this host was told to make."""

    command: messages.StartTransfer
    budget: deadline.Deadline
    is_post_copy_permitted: bool
    #: When the transfer began, by the boot clock and, should the machine reboot, by the wall.
    boot_id: str
    began_boot_seconds: float
    began_at: datetime.datetime
    #: Whether the hypervisor was asked to start and did not refuse; until then it may be asked again.
    is_started: bool = False
    is_start_reported: bool = False
    is_post_copy: bool = False
    #: Written before it is done.
    intent: truth.LastIntent = truth.LastIntent.NONE
    intent_detail: str = ""
    is_deadline_spent: bool = False
    abort: Cause | None = None
    force: Cause | None = None
    #: Boot clock's reading when we paused the guest; None when it was not us.
    paused_boot_seconds: float | None = None
    #: Whether the guest was seen paused for switch-over, or must have been: from then on the destination may be running it.
    was_handed_over: bool = False
    #: Whether we set about to suspend it because its hypervisor resumed it after the hand-over, and whether that was done.
    is_suspended: bool = False
    is_suspension_done: bool = False
    #: Whether post-copy has lost its connection since, and nobody has seen it end.
    is_post_copy_broken: bool = False
    #: Times that it was tried to connect it again; written before each.
    resume_tries: int = 0
    #: Whether somebody asked to try it no more.
    is_given_up: bool = False
    #: Text of the error with which the start ended, when it is not known whether anything began.
    call_error: str = ""
    #: Whether its end was seen and noted as a report.
    is_ended: bool = False

    @property
    def has_deadline_acted(self) -> bool:
        """Whether the deadline is over and was followed by something that cannot be taken back, whoever wanted that."""
        return self.is_deadline_spent and any(cause is not None and cause.is_applied for cause in (self.abort, self.force))

    @property
    def is_forcing(self) -> bool:
        """Whether it is to be forced to complete, and that has not been done."""
        return self.abort is None and self.force is not None and not self.force.is_applied

    @property
    def was_paused_by_us(self) -> bool:
        """Whether the guest would run but for us."""
        return self.paused_boot_seconds is not None or self.is_suspended


class MoveNote(_Note):
    """What this host has done of a cold migration or resize; each is written when it is done, or before it cannot be taken back."""

    #: The definition as it is while the guest is off, once its power was taken here.
    definition: str = ""
    #: Whether its power had to be taken, since it did not shut itself down in its time.
    was_powered_off: bool = False
    #: Whether all its disks have been sent.
    is_sent: bool = False
    #: Whether it was taken in here, and started if it ran before: not to be started once more by a late command.
    is_taken_in: bool = False


class Fact(_Note):
    """A report that no conductor has acknowledged."""

    sequence: int
    epoch: int
    #: Name of the message.
    kind: str
    body: dict[str, Any]


class End(_Note):
    """The end of a migration on this host: what came to it last, and the answer, for those who ask again."""

    at: datetime.datetime
    #: Name of the command; empty when another migration of the guest took its place.
    command: str
    reply: dict[str, Any]


class Entry(_Note):
    """One migration, on this host."""

    operation_id: str
    instance_uuid: str
    #: The highest that any command carried.
    epoch: int
    touched_at: datetime.datetime | None = None
    #: Whether it is only a question what would become of one: nobody drives it, and nobody owes its end.
    is_question: bool = False
    #: Files and volumes that we created, named before they were.
    created: list[str] = []
    #: Those of them that are probes of a check, which must go with whatever end it takes: a check that comes late makes them anew.
    probes: list[str] = []
    #: Generation of the operation at which it was last checked here: a release that was asked for before is late.
    checked_generation: int = 0
    #: Generation of the operation at which its check here was let go of: one that was asked for before is late.
    released_generation: int = 0
    transfer: TransferNote | None = None
    move: MoveNote | None = None
    #: Files that we created for a guest which is here for good since: ours to remove when it leaves for good.
    owned: list[str] = []
    next_sequence: int = 1
    #: Reports in order, the oldest first.
    unacknowledged: list[Fact] = []
    #: How far each stage got, for a person who reads this.
    stages: dict[str, str] = {}
    end: End | None = None
    #: Whether the guest came to this host by it and was paused then: how it came may matter for as long as it is not resumed.
    has_arrived_paused: bool = False


class Journal:
    """The notes of one host's agent.

    :param clock: stamps what is kept, so that old ends can be forgotten.
    """

    def __init__(self, storage: wherry_storage.Storage, clock: wherry_clock.Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._writing: dict[str, asyncio.Lock] = {}
        self._unsaved: set[str] = set()

    async def open(self, incarnation: str) -> tuple[str, ...]:
        """Lock the place, read everything, and give the incarnations that had it before, the last of them last.

        :raises JournalLocked: when another agent has it.
        """
        try:
            predecessors = await self._storage.lock(incarnation)
        except errors.JournalLocked:
            await self._storage.unlock()
            raise
        for name, data in (await self._storage.read_all()).items():
            try:
                entry = Entry.model_validate_json(data)
            except pydantic.ValidationError as error:
                # It is rebuilt from what the conductor sends next; the file stays for a person.
                _log.error("A journal file cannot be read and was set aside", file=name, problem=str(error))
                await self._storage.set_aside(name)
                continue
            self._entries[entry.operation_id] = entry
        return predecessors

    async def close(self) -> None:
        """Let the place go."""
        await self._storage.unlock()

    def find(self, operation_id: str) -> Entry | None:
        """Give the entry of a migration, if there is one."""
        return self._entries.get(operation_id)

    def get(self, operation_id: str) -> Entry:
        """Give the entry of a migration whose command was let in."""
        return self._entries[operation_id]

    def add(self, command: messages.Command) -> Entry:
        """Make an entry for a migration that is new here. Not written until `save`."""
        if len(command.operation_id) > 200:
            raise errors.MessageInvalid(message_type=type(command).__name__, problem="operation_id is longer than 200 characters")
        entry = Entry(operation_id=command.operation_id, instance_uuid=command.instance_uuid, epoch=command.epoch)
        self._entries[entry.operation_id] = entry
        return entry

    def unfinished(self) -> list[Entry]:
        """Give every entry that has no end."""
        return [entry for entry in self._entries.values() if entry.end is None]

    def has_arrived_paused(self, instance_uuid: str) -> bool:
        """Whether the guest was paused when it last came to this host."""
        arrivals = [
            (entry.end.at, entry.has_arrived_paused)
            for entry in self._entries.values()
            if entry.instance_uuid == instance_uuid and entry.end is not None and entry.end.command == messages.FinishDestination.__name__
        ]
        return max(arrivals)[1] if arrivals else False

    async def save(self, entry: Entry, *, is_synced: bool = False) -> None:
        """Write an entry as it is now. `is_synced`: before something that cannot be taken back."""
        entry.touched_at = self._clock.now()
        # Two writers of one entry: the later one must also land later, and holds the newer state.
        async with self._writing.setdefault(entry.operation_id, asyncio.Lock()):
            self._unsaved.add(entry.operation_id)
            await self._storage.write(_file_name(entry.operation_id), entry.model_dump_json().encode(), is_synced=is_synced)
            self._unsaved.discard(entry.operation_id)

    def is_saved(self, entry: Entry) -> bool:
        """Whether what it says now was written; not so while its disk is full, or a write is under way."""
        return entry.operation_id not in self._unsaved

    def owned(self, instance_uuid: str) -> frozenset[str]:
        """Give the files on this host that migrations of ours created for the guest and left to it."""
        return frozenset(path for entry in self._entries.values() if entry.instance_uuid == instance_uuid for path in entry.owned)

    async def disown(self, instance_uuid: str) -> None:
        """Forget which files are the guest's: it has left for good."""
        for entry in list(self._entries.values()):
            if entry.instance_uuid == instance_uuid and entry.owned:
                entry.owned = []
                await self.save(entry)

    async def finish(self, entry: Entry, command: str, reply: messages.Message) -> None:
        """Note the end of a migration, and forget what no longer matters."""
        entry.end = End(at=self._clock.now(), command=command, reply=reply.model_dump(mode="json"))
        if command in _ARRIVALS:
            entry.owned = list(entry.created)
        entry.transfer = None
        entry.move = None
        entry.created = []
        entry.probes = []
        entry.unacknowledged = []
        await self.save(entry, is_synced=True)

    async def prune(self, retention_days: float, paused: Collection[str] | None = None) -> None:
        """Forget what was last touched longer ago than that, unless something of it is still here.

        :param paused: the guests that are paused here; None when that is not known.
        """
        limit = self._clock.now() - datetime.timedelta(days=retention_days)
        for entry in list(self._entries.values()):
            is_settled = entry.end is not None or (entry.transfer is None and entry.move is None and not entry.created)
            is_settled = is_settled and not entry.owned
            is_settled = is_settled and not (entry.has_arrived_paused and (paused is None or entry.instance_uuid in paused))
            if is_settled and entry.touched_at is not None and entry.touched_at < limit:
                del self._entries[entry.operation_id]
                self._writing.pop(entry.operation_id, None)
                await self._storage.remove(_file_name(entry.operation_id))


def plain(record: object) -> Any:
    """Give a record of the model as a fact's body holds it: of JSON's own kinds."""
    return pydantic_core.to_jsonable_python(record)


def _file_name(operation_id: str) -> str:
    # An id is a uuid, but it comes from a bus: it must not name another directory.
    return urllib.parse.quote(operation_id, safe="").replace(".", "%2E")
