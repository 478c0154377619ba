# SPDX-License-Identifier: Apache-2.0
"""Step: look at the guest as it is now, and choose where it goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from wherry import config as configs
from wherry import errors
from wherry.conductor import drive, survey
from wherry.conductor.scheduler import filters, select, ties
from wherry.db import uow as uows
from wherry.model import abilities, deadline, guest, host, instance_actions, migration, operation
from wherry.rpc import messages

_MOVABLE = frozenset({guest.GuestState.RUNNING, guest.GuestState.PAUSED})


class SelectDestination:
    """Chooses; a destination that was tried and refused is not chosen again."""

    name = operation.StepName.SELECT_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """An abort ends it here: nothing was touched."""
        return drive.Advance(transition=drive.aborted_untouched()) if on.wants(operation.IntentKind.ABORT) else None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Describe the guest freshly, and pick the destination."""
        seen = await on.survey.look(on.operation.instance_uuid)
        hosts = seen.hosts
        try:
            return await self._select(on, seen)
        except (errors.SourceDown, errors.DestinationDown, errors.NoValidHost) as error:
            seconds = _unheard_seconds(on, hosts.values())
            if seconds <= 0:
                raise
            return drive.Wait(seconds=min(seconds, on.config.default.report_interval_seconds), why=error.message)

    async def _select(self, on: drive.Drive, seen: survey.Seen) -> drive.Answer:
        source = seen.hosts.get(on.plan.source)
        if source is None or not host.is_up(source, on.clock.now(), on.config.default.service_down_time_seconds):
            raise errors.SourceDown(host=on.plan.source)
        on.source_description = source.description
        described = await _describe(on)
        lacking = abilities.refusal_by_source(ask_of(on.config, on.request, described, source.description), source)
        if lacking is not None:
            # No other destination would change it.
            raise lacking
        if on.request.host is not None and on.plan.refused:
            # The one that was asked for said no: its own words, not a generic "no valid host".
            return drive.refused(_last_refusal(on.plan.refused))
        demand = demand_of(on, described, source, seen.tied)
        chosen = await _choose(on, await _without_own_claim(on, seen.hosts), demand, seen)
        on.survey.choose(on.operation.id, source.name, chosen.name, described)
        plan = dataclasses.replace(on.plan, guest=described, destination=chosen.name, facts=None, storage=None, checked_at=None)
        transition = operation.Transition(
            step=operation.StepName.CHECK_DESTINATION,
            plan=plan,
            dest_compute=chosen.name,
            dest_node=chosen.description.hypervisor_hostname,
            source_node=source.description.hypervisor_hostname,
            started=(instance_actions.EventStart(name=instance_actions.EventName.CHECK_DESTINATION, host=chosen.name),),
        )
        return drive.Advance(transition=transition, guard=_still_fits(on, chosen.name, demand))

    async def undo(self, on: drive.Drive) -> None:
        """Choosing touches nothing; the claim is the row itself."""


def _unheard_seconds(on: drive.Drive, hosts: Iterable[host.Host]) -> float:
    """Give how long a silent host may still only seem so, because its signs of life could not be stored while the database was away.

    Every agent that lives is heard of within two intervals: a sign that was refused, and the next one.
    """
    options = on.config.default
    silent = [one for one in hosts if not one.is_forced_down and not host.is_up(one, on.clock.now(), options.service_down_time_seconds)]
    return 2 * options.report_interval_seconds - on.lease.undisturbed_seconds if silent else 0.0


async def source_of(on: drive.Drive) -> host.HostDescription:
    """Give what the source said of itself: what the choice went by, so that the checks go by the same; read where another made it."""
    if on.source_description is None or on.attempts:
        on.source_description = await on.store.look(lambda uow: uow.hosts.description_of(on.plan.source))
    return on.source_description


async def has_another(on: drive.Drive) -> bool:
    """Whether there is a destination to try after this one, by the records and by what the request and the configuration allow."""
    limit = on.config.default.migrate_max_retries
    if on.request.host is not None or 0 <= limit < len(on.plan.refused) + 1:
        return False
    hosts = await on.hosts_by_name()
    return await fits_one_of(on, [one for one in hosts.values() if one.name != on.destination], hosts)


async def fits_one_of(on: drive.Drive, candidates: list[host.Host], hosts: Mapping[str, host.Host]) -> bool:
    """Whether one of these hosts fits that has not said no."""
    tied = await on.store.read(lambda uow: ties.of(uow, on.guest.uuid))
    demand = demand_of(on, on.guest, hosts[on.plan.source], tied)
    try:
        select.best(candidates, demand, on.config.scheduler, on.plan.refused)
    except errors.NoValidHost:
        return False
    return True


def demand_of(on: drive.Drive, described: guest.Guest, source: host.Host, tied: ties.Ties) -> filters.Demand:
    """Give what the filters measure by."""
    return filters.Demand(
        guest=described,
        source=source,
        rules=filters.Rules.of(on.config.default, on.clock.now()),
        neighbours=tied.neighbours,
        zone=tied.zone,
        ask=ask_of(on.config, on.request, described, source.description),
    )


def ask_of(
    config: configs.Config, request: migration.LiveMigrationRequest, described: guest.Guest, source: host.HostDescription
) -> abilities.Ask:
    """Give what the request needs of the drivers: with what the source goes by, since it will; with ours where it is too old to say."""
    section = config.libvirt
    rules = source.sending_rules or host.SendingRules(
        permits_post_copy=section.live_migration_permit_post_copy,
        timeout_action=deadline.TimeoutAction(section.live_migration_timeout_action),
        timeout_seconds_per_gib=section.live_migration_completion_timeout,
    )
    return abilities.ask_of(
        request,
        described,
        configured_action=rules.timeout_action,
        configured_timeout_seconds_per_gib=rules.timeout_seconds_per_gib,
        permits_post_copy=rules.permits_post_copy,
    )


async def _describe(on: drive.Drive) -> guest.Guest:
    described = (await on.ask(on.plan.source, messages.DescribeGuest(**on.ids))).guest
    if described.state not in _MOVABLE:
        raise errors.GuestNotRunning(uuid=on.operation.instance_uuid, state=described.state.value)
    return described


async def _without_own_claim(on: drive.Drive, hosts: dict[str, host.Host]) -> list[host.Host]:
    """Give the hosts without what this migration itself claims of one, having chosen it before: it must not stand in its own way."""
    claimed = hosts.get(on.migration.dest_compute or "")
    if claimed is None:
        return list(hosts.values())
    moving = await on.store.look(lambda uow: uow.servers.get(on.operation.instance_uuid))
    usage = dataclasses.replace(
        claimed.usage,
        memory_mib=claimed.usage.memory_mib - moving.memory_mib,
        vcpus=claimed.usage.vcpus - moving.vcpus,
        incoming_migrations=claimed.usage.incoming_migrations - 1,
    )
    return list((hosts | {claimed.name: dataclasses.replace(claimed, usage=usage)}).values())


async def _choose(on: drive.Drive, hosts: list[host.Host], demand: filters.Demand, seen: survey.Seen) -> host.Host:
    request, refused = on.request, on.plan.refused
    if request.host is not None:
        return select.requested(hosts, request, demand, on.config.scheduler.enabled_filters)
    stays = await _stays(on, hosts, demand)
    if stays is not None:
        return stays
    limit = on.config.default.migrate_max_retries
    if 0 <= limit < len(refused):
        raise errors.MaxRetriesExceeded(tried=len(refused), detail=refused[-1].message)
    try:
        return select.best(on.survey.with_choices(hosts, seen), demand, on.config.scheduler, refused)
    except errors.NoValidHost:
        # What was chosen for others may come to nothing, or be counted twice.
        return select.best(hosts, demand, on.config.scheduler, refused)


async def _stays(on: drive.Drive, hosts: list[host.Host], demand: filters.Demand) -> host.Host | None:
    """Give the destination that was chosen before the migration was queued, while it fits; if it is full, another one that is not."""
    scheduler, refused = on.config.scheduler, on.plan.refused
    known = next((one for one in hosts if one.name == on.migration.dest_compute), None)
    if known is None or known.name in {one.host for one in refused}:
        return None
    if filters.refusal(known, demand, scheduler.enabled_filters) is not None:
        return None
    into = on.config.default.max_concurrent_incoming_live_migrations
    counts = await on.store.look(lambda uow: uow.slots.count(on.plan.source, known.name, exclude_operation=on.operation.id))
    if not into or counts.incoming < into:
        return known
    try:
        return select.best(with_free_slot(hosts, into, known.name), demand, scheduler, refused)
    except errors.NoValidHost:
        return known


def with_free_slot(hosts: Iterable[host.Host], into: int, but: str) -> list[host.Host]:
    """Give the hosts that fewer migrations than the limit are on their way to, without the one named."""
    return [one for one in hosts if one.usage.incoming_migrations < into and one.name != but]


def _last_refusal(refused: tuple[migration.RefusedHost, ...]) -> errors.Error:
    return errors.from_wire({"slug": refused[-1].slug, "fields": refused[-1].fields})


def _still_fits(on: drive.Drive, name: str, demand: filters.Demand) -> drive.Guard:
    """Count again with the host's row locked: two conductors must not both take its last room."""

    async def guard(uow: uows.UnitOfWork) -> None:
        current = await uow.hosts.get_locked(name)
        present = dataclasses.replace(demand, neighbours=await uow.server_groups.neighbours_of(demand.guest.uuid))
        names = filters.FORCED if on.request.force else on.config.scheduler.enabled_filters
        # Its own row names the destination when the step runs a second time, and would count against itself.
        if on.migration.dest_compute != name and filters.refusal(current, present, names) is not None:
            raise errors.StaleWrite(what="Host", name=name)

    return guard
