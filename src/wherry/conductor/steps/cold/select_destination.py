# SPDX-License-Identifier: Apache-2.0
"""Step: look at the guest as it is now, and choose the host to which it goes, or on which it becomes another size."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.scheduler import filters, select, ties
from wherry.conductor.steps.cold import ends
from wherry.db import uow as uows
from wherry.model import guest, host, instance_actions, operation
from wherry.rpc import messages

_MOVABLE = frozenset({guest.GuestState.RUNNING, guest.GuestState.SHUT_OFF})


class SelectDestination:
    """Chooses by the new size; a destination that was tried and refused is not chosen again."""

    name = operation.StepName.SELECT_DESTINATION

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """A reset of the server's state ends it here: nothing was touched."""
        return drive.Advance(transition=drive.aborted_untouched()) if on.wants(operation.IntentKind.ABORT) else None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Describe the guest freshly, and pick the destination."""
        hosts = await on.hosts_by_name()
        source = hosts.get(on.plan.source)
        if source is None or not host.is_up(source, on.clock.now(), on.config.default.service_down_time_seconds):
            raise errors.SourceDown(host=on.plan.source)
        described = await _describe(on, source)
        demand = await _demand(on, described, source)
        chosen = _choose(on, _without_own_claim(on, hosts), demand)
        transition = operation.Transition(
            step=operation.StepName.CHECK_DESTINATION,
            plan=ends.with_plan(
                on,
                guest=described,
                destination=chosen.name,
                facts=None,
                storage=None,
                was_running=described.state is guest.GuestState.RUNNING,
            ),
            dest_compute=chosen.name,
            dest_node=chosen.description.hypervisor_hostname,
            dest_host=chosen.description.host_address,
            source_node=source.description.hypervisor_hostname,
            started=(
                instance_actions.EventStart(name=instance_actions.EventName.COLD_MIGRATE, host=on.config.default.host),
                instance_actions.EventStart(name=instance_actions.EventName.PREP_RESIZE, host=chosen.name),
            ),
        )
        return drive.Advance(transition=transition, guard=_still_fits(on, chosen.name, demand))

    async def undo(self, on: drive.Drive) -> None:
        """Choosing touches nothing; the claim is the row itself."""


async def _describe(on: drive.Drive, source: host.Host) -> guest.Guest:
    description = source.description
    if not description.capabilities.cold_migration:
        instead = "Move its disks by the hypervisor's own means."
        raise errors.CapabilityMissing(driver=description.driver, host=source.name, ability="send a guest that is off", instead=instead)
    described = (await on.ask(on.plan.source, messages.DescribeGuest(**on.ids))).guest
    if described.state not in _MOVABLE:
        why = f"it is {described.state.value}"
        raise errors.CannotMove(uuid=described.uuid, why=why, instead="Let it run, or stop it, first.")
    if on.cold_request.is_resize and described.root_gib > on.new_size.root_gib:
        raise errors.DiskShrinks(uuid=described.uuid, present_gib=described.root_gib, wanted_gib=on.new_size.root_gib)
    return described


async def _demand(on: drive.Drive, described: guest.Guest, source: host.Host) -> filters.Demand:
    tied = await on.store.read(lambda uow: ties.of(uow, described.uuid))
    return filters.Demand(
        guest=dataclasses.replace(described, memory_mib=on.new_size.memory_mib, vcpus=on.new_size.vcpus),
        source=source,
        rules=filters.Rules.of(on.config.default, on.clock.now()),
        neighbours=tied.neighbours,
        zone=tied.zone,
    )


def _may_stay(on: drive.Drive) -> bool:
    """Only a resize gains anything by it."""
    return on.cold_request.is_resize and on.config.default.allow_resize_to_same_host


def _filters(on: drive.Drive) -> tuple[str, ...]:
    return filters.for_cold(on.config.scheduler.enabled_filters, may_stay=_may_stay(on))


def _without_own_claim(on: drive.Drive, hosts: dict[str, host.Host]) -> list[host.Host]:
    """Give the hosts without what this migration itself claims of one, having chosen it before: it must not stand in its own way."""
    claimed = hosts.get(on.migration.dest_compute or "")
    if claimed is None:
        return list(hosts.values())
    usage = dataclasses.replace(
        claimed.usage,
        memory_mib=claimed.usage.memory_mib - on.new_size.memory_mib,
        vcpus=claimed.usage.vcpus - on.new_size.vcpus,
    )
    return list((hosts | {claimed.name: dataclasses.replace(claimed, usage=usage)}).values())


def _choose(on: drive.Drive, hosts: list[host.Host], demand: filters.Demand) -> host.Host:
    named, refused, names = on.cold_request.host, on.plan.refused, _filters(on)
    if named is None:
        limit = on.config.default.migrate_max_retries
        if 0 <= limit < len(refused):
            raise errors.MaxRetriesExceeded(tried=len(refused), detail=refused[-1].message)
        return select.best(hosts, demand, on.config.scheduler, refused, names=names, may_stay=_may_stay(on))
    if refused:
        # The one that was asked for said no: its own words, not a generic "no valid host".
        raise errors.from_wire({"slug": refused[-1].slug, "fields": refused[-1].fields})
    chosen = next((one for one in hosts if one.name == named), None)
    if chosen is None:
        raise errors.DestinationNotFound(host=named)
    reason = filters.refusal(chosen, demand, names)
    if reason is not None:
        raise reason
    return chosen


def _still_fits(on: drive.Drive, name: str, demand: filters.Demand) -> drive.Guard:
    """Count again with the host's row locked: two conductors must not both take its last room."""

    async def guard(uow: uows.UnitOfWork) -> None:
        await uow.slots.lock_and_count(on.plan.source, name)
        current = await uow.hosts.get(name)
        present = dataclasses.replace(demand, neighbours=await uow.server_groups.neighbours_of(demand.guest.uuid))
        # Its own row names the destination when the step runs a second time, and would count against itself.
        if on.migration.dest_compute != name and filters.refusal(current, present, _filters(on)) is not None:
            raise errors.StaleWrite(what="Host", name=name)

    return guard
