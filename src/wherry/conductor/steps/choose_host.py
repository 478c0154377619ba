# SPDX-License-Identifier: Apache-2.0
"""Steps: choose the host that makes a new server's guest. The choice is the claim: the server's row names the host from then on."""

from __future__ import annotations

import dataclasses

from wherry import errors
from wherry.conductor import drive
from wherry.conductor.scheduler import filters, select
from wherry.conductor.steps import take_back
from wherry.db import uow as uows
from wherry.model import guest, instance_actions, operation, server, server_group
from wherry.rpc import instance_events

_EVENT = instance_actions.EventName.SCHEDULE


class BeginBuild:
    """Touches nothing."""

    name = operation.StepName.BEGIN

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Nothing leaves the road before its first event."""
        return None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Open the event of the choice."""
        started = (instance_actions.EventStart(name=_EVENT, host=on.config.default.host),)
        return drive.Advance(transition=operation.Transition(step=operation.StepName.CHOOSE_HOST, started=started))

    async def undo(self, on: drive.Drive) -> None:
        """There is nothing to undo."""


class ChooseHost:
    """Touches no host. One that tried and failed is not chosen again."""

    name = operation.StepName.CHOOSE_HOST

    async def check(self, on: drive.Drive) -> drive.Advance | None:
        """Somebody wants the server deleted, or its state was reset: nothing was made yet."""
        return take_back.given_up(on) if on.wants(operation.IntentKind.ABORT) else None

    async def execute(self, on: drive.Drive) -> drive.Answer:
        """Pick the host by the filters and weighers of migrations, as far as they mean anything for a guest that is nowhere yet."""
        made = await on.store.read(lambda uow: uow.servers.get(on.operation.instance_uuid))
        neighbours = await on.store.read(lambda uow: uow.server_groups.neighbours_of(made.uuid))
        demand = _demand_of(on, made, neighbours)
        request, section, refused = on.build_request, on.config.scheduler, on.plan.refused
        names = filters.FORCED_BUILD if request.is_forced else section.enabled_filters
        limit = on.config.default.migrate_max_retries
        try:
            if 0 <= limit < len(refused):
                raise errors.MaxRetriesExceeded(tried=len(refused), detail=refused[-1].message)
            chosen = select.best(list((await on.hosts_by_name()).values()), demand, section, refused, names=names)
        except errors.CheckFailed as error:
            return take_back.failed(on, instance_events.outcome_of(error), error.message)
        transition = operation.Transition(
            step=operation.StepName.BUILD,
            plan=dataclasses.replace(on.plan, source=chosen.name),
            server=server.ServerChange(host=chosen.name, node=chosen.description.hypervisor_hostname, task_state=server.TaskState.SPAWNING),
            started=(instance_actions.EventStart(name=instance_actions.EventName.BUILD, host=chosen.name),),
            finished=(instance_actions.EventFinish(name=_EVENT, host=on.config.default.host, outcome=instance_actions.SUCCEEDED),),
        )
        return drive.Advance(transition=transition, guard=_still_fits(chosen.name, demand, names))

    async def undo(self, on: drive.Drive) -> None:
        """Choosing touches nothing; the claim is the row itself."""


def _demand_of(on: drive.Drive, made: server.Server, neighbours: server_group.Neighbours | None) -> filters.Demand:
    request = on.build_request
    wanted = guest.Guest(uuid=made.uuid, name=made.name, state=guest.GuestState.ABSENT, memory_mib=made.memory_mib, vcpus=made.vcpus)
    return filters.Demand(
        guest=wanted,
        source=None,
        rules=filters.Rules.of(on.config.default, on.clock.now()),
        neighbours=neighbours,
        zone=request.zone,
        host=request.host,
        node=request.node,
    )


def _still_fits(name: str, demand: filters.Demand, names: tuple[str, ...]) -> drive.Guard:
    """Count again with the host's row locked: two conductors must not both take its last room."""

    async def guard(uow: uows.UnitOfWork) -> None:
        await uow.slots.lock_and_count(name, name)
        current = await uow.hosts.get(name)
        present = dataclasses.replace(demand, neighbours=await uow.server_groups.neighbours_of(demand.guest.uuid))
        if filters.refusal(current, present, names) is not None:
            raise errors.StaleWrite(what="Host", name=name)

    return guard
