# SPDX-License-Identifier: Apache-2.0
"""Say what would become of a live migration: the filters on every host's record, then the checks of the hypervisors themselves.

Changes no server and no record, and leaves nothing behind on any host.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import uuid

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor.scheduler import filters, select, weighers
from wherry.conductor.steps import select_destination
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import migrations as migration_records
from wherry.model import abilities, deadline, feasibility, guest, host, migration, server, states
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

#: Records of earlier migrations that an estimate rests on.
_MOST_REMEMBERED = 20
#: Root of those ids.
_NAMESPACE = uuid.UUID("0d6a4c0e-64f5-4f0c-9c55-61c1c5d0a4b7")
_MOVABLE = frozenset({guest.GuestState.RUNNING, guest.GuestState.PAUSED})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What is asked of each candidate."""

    request: migration.LiveMigrationRequest
    guest: guest.Guest
    source: host.Host
    demand: filters.Demand
    ask: abilities.Ask
    past: tuple[feasibility.Past, ...]


class Feasibility:
    """Answers the question. `config` is replaced on reload.

    :param conductor_id: from which the ids are made under which candidates are asked; that of one start, so that none comes twice.
    """

    def __init__(
        self, *, store: stores.Store, agents: clients.Client, clock: clocks.Clock, config: configs.Config, conductor_id: str
    ) -> None:
        self._conductor_id = conductor_id
        self._numbers = itertools.count(1)
        self._store = store
        self._agents = agents
        self._clock = clock
        self.config = config
        self._turns = asyncio.Semaphore(config.conductor.feasibility_max_concurrent)

    async def check(self, instance_uuid: str, request: migration.LiveMigrationRequest) -> feasibility.Feasibility:
        """Look at each candidate, once it is this question's turn.

        :raises ServerNotFound: there is no such server.
        :raises RpcTimeout: its turn did not come before whoever asked it had given up.
        """
        limit = self.config.api.blocking_request_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                await self._turns.acquire()
        except TimeoutError:
            raise errors.RpcTimeout(what="The turn of a check", host="the conductor", seconds=limit) from None
        try:
            return await self._check(instance_uuid, request)
        finally:
            self._turns.release()

    async def _check(self, instance_uuid: str, request: migration.LiveMigrationRequest) -> feasibility.Feasibility:
        moving = await self._store.read(lambda uow: uow.servers.get(instance_uuid))
        hosts = {one.name: one for one in await self._store.read(lambda uow: uow.hosts.list())}
        name = moving.host or ""
        try:
            question = await self._question(moving, hosts.get(name), request)
        except errors.Error as error:
            return feasibility.Feasibility(source=name, blockers=(_blocker(error),))
        lacking = abilities.refusal_by_source(question.ask, question.source)
        candidates = await self._candidates(question, hosts)
        return feasibility.Feasibility(source=name, blockers=(_blocker(lacking),) if lacking is not None else (), candidates=candidates)

    async def _question(self, moving: server.Server, source: host.Host | None, request: migration.LiveMigrationRequest) -> _Question:
        rules = filters.Rules.of(self.config.default, self._clock.now())
        if source is None or not host.is_up(source, rules.now, rules.service_down_time_seconds):
            raise errors.SourceDown(host=moving.host)
        # Without an operation it is only a question: nothing is noted of it.
        asked = messages.DescribeGuest(operation_id="", epoch=0, instance_uuid=moving.uuid)
        described = (await self._agents.call(addresses.agent(source.name), asked)).guest
        if described.state not in _MOVABLE:
            raise errors.GuestNotRunning(uuid=moving.uuid, state=described.state.value)
        neighbours = await self._store.read(lambda uow: uow.server_groups.neighbours_of(moving.uuid))
        ask = select_destination.ask_of(self.config, request, described, source.description)
        demand = filters.Demand(
            guest=described,
            source=source,
            rules=rules,
            neighbours=neighbours,
            ask=ask,
            zone=moving.pinned_zone,
        )
        past = await self._store.read(lambda uow: _past(uow, moving.uuid, source.name))
        return _Question(request=request, guest=described, source=source, demand=demand, ask=ask, past=past)

    async def _candidates(self, question: _Question, hosts: dict[str, host.Host]) -> tuple[feasibility.Candidate, ...]:
        """Judge all by their records, and have those asked that pass, the best first."""
        section = self.config.scheduler
        named = question.request.host
        found = [one for one in hosts.values() if one.name == named or (named is None and one.name != question.source.name)]
        refused: list[feasibility.Candidate] = []
        passing: list[host.Host] = []
        for one in found:
            reasons = tuple(_blocker(error) for error in filters.refusals(one, question.demand, section.enabled_filters))
            if reasons:
                refused.append(self._candidate(question, one, is_allowed=False, blockers=reasons))
            else:
                passing.append(one)
        ranked = weighers.ranked(passing, select.multipliers(section), question.demand.neighbours)
        most = self.config.conductor.feasibility_max_hosts
        asked = await asyncio.gather(*(self._ask(question, one) for one in ranked[:most]))
        unasked = [self._candidate(question, one, is_allowed=None) for one in ranked[most:]]
        return (*asked, *unasked, *sorted(refused, key=lambda one: one.host))

    async def _ask(self, question: _Question, candidate: host.Host) -> feasibility.Candidate:
        """Have destination and source check, as for a migration, and take away what that left."""
        ids = {
            "operation_id": str(uuid.uuid5(_NAMESPACE, f"{self._conductor_id}/{next(self._numbers)}")),
            "epoch": 1,
            "instance_uuid": question.guest.uuid,
        }
        there, here = addresses.agent(candidate.name), addresses.agent(question.source.name)
        request = question.request
        try:
            described = question.source.description
            command = messages.CheckDestination(**ids, guest=question.guest, request=request, source=described, is_question=True)
            facts = (await self._agents.call(there, command)).facts
        except errors.Error as error:
            if not isinstance(error, errors.CheckFailed) or isinstance(error, errors.CheckTimeout | errors.CheckCrashed):
                await self._forget(there, ids, question)
            return self._candidate(question, candidate, is_allowed=False, blockers=(_blocker(error),))
        try:
            checked = await self._agents.call(here, messages.CheckSource(**ids, guest=question.guest, request=request, facts=facts))
        except errors.Error as error:
            return self._candidate(question, candidate, is_allowed=False, blockers=(_blocker(error),), warnings=facts.warnings)
        finally:
            await self._release(there, ids, facts)
        return self._candidate(question, candidate, is_allowed=True, warnings=facts.warnings, storage=checked.storage)

    async def _release(self, there: addresses.Address, ids: dict[str, object], facts: migration.DestinationFacts) -> None:
        if not facts.probes:
            return
        try:
            await self._agents.call(there, messages.ReleaseCheck.model_validate({**ids, "probes": facts.probes}))
        except errors.Error as error:
            _log.warning("The probes of a question stay behind.", host=facts.host, slug=error.slug, error=error.message)

    async def _forget(self, there: addresses.Address, ids: dict[str, object], question: _Question) -> None:
        """Have a destination that gave no clear answer remove what its check may have left, unless somebody moves the guest by now."""
        plan = migration.DrivenPlan(source=question.source.name, guest=question.guest)
        try:
            if await self._store.read(lambda uow: uow.operations.open_of_instance(question.guest.uuid)) is None:
                command = messages.RollBackDestination.model_validate({**ids, "plan": plan, "request": question.request})
                await self._agents.call(there, command)
        except errors.Error as error:
            _log.warning("What a question left may stay behind.", host=there.host, slug=error.slug, error=error.message)

    def _candidate(
        self,
        question: _Question,
        candidate: host.Host,
        *,
        is_allowed: bool | None,
        blockers: tuple[feasibility.Blocker, ...] = (),
        warnings: tuple[str, ...] = (),
        storage: migration.StoragePlan | None = None,
    ) -> feasibility.Candidate:
        ends = abilities.Ends(source=question.source.description.capabilities, destination=candidate.description.capabilities)
        notes = abilities.notes(question.ask, ends, question.source.description.driver)
        return feasibility.Candidate(
            host=candidate.name,
            is_allowed=is_allowed,
            blockers=blockers,
            warnings=(*warnings, *(storage.warnings if storage is not None else ()), *notes),
            timeout_actions=abilities.honoured(question.ask, ends),
            is_block_migration=None if storage is None else storage.is_block_migration,
            estimate=self._estimate(question, storage) if storage is not None else None,
        )

    def _estimate(self, question: _Question, storage: migration.StoragePlan) -> feasibility.Estimate:
        copied = tuple(disk.capacity_bytes for disk in storage.copied)
        budget = deadline.resolve(
            requested_timeout_seconds=question.request.timeout_seconds,
            requested_action=question.request.on_timeout,
            configured_timeout_seconds_per_gib=question.ask.configured_timeout_seconds_per_gib,
            configured_action=question.ask.configured_action,
            data=deadline.data_gib(question.guest.memory_mib, copied),
        )
        can_act = not abilities.shortfalls(question.ask, abilities.Ends(source=question.source.description.capabilities))
        return feasibility.estimate(
            memory_bytes=question.guest.memory_mib << 20,
            copied_bytes=sum(copied),
            past=question.past,
            deadline=budget,
            action=budget.on_timeout if can_act else None,
            configured_pause_ms=self.config.libvirt.live_migration_downtime,
        )


async def _past(uow: uows.UnitOfWork, instance_uuid: str, source: str) -> tuple[feasibility.Past, ...]:
    completed = (states.Status.COMPLETED,)
    own = await uow.migrations.list(
        migration_records.MigrationQuery(instance_uuid=instance_uuid, statuses=completed, limit=_MOST_REMEMBERED)
    )
    others = await uow.migrations.list(migration_records.MigrationQuery(source_compute=source, statuses=completed, limit=_MOST_REMEMBERED))
    return tuple(
        feasibility.Past(
            is_same_server=one.instance_uuid == instance_uuid,
            seconds=(one.finished_at - one.started_at).total_seconds(),
            bytes_per_second=one.progress.bytes_per_second if one.progress is not None else 0,
            copied_bytes=one.progress.disk_total_bytes if one.progress is not None else 0,
            pause_ms=one.progress.downtime_ms if one.progress is not None else None,
        )
        for one in {one.uuid: one for one in (*own, *others)}.values()
        if one.finished_at is not None and one.started_at is not None
    )


def _blocker(error: errors.Error) -> feasibility.Blocker:
    return feasibility.Blocker(slug=error.slug, message=error.message, remedy=error.remedy)
