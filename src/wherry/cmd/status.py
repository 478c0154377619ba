# SPDX-License-Identifier: Apache-2.0
"""`wherry status`: what runs, who holds which lease, and what waits for what.

Reads the database only, so it works when nothing else does.
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from wherry import clock as clocks
from wherry import config as configs
from wherry.cmd import attention, timekeeping
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.migrations import runner
from wherry.db.repositories import admission, apis, conductors, migrations, overview
from wherry.model import confirmation
from wherry.model import host as hosts
from wherry.model import server as servers

_SLOT_OPTIONS = {
    "outgoing": "max_concurrent_live_migrations",
    "incoming": "max_concurrent_incoming_live_migrations",
    "cluster": "max_concurrent_live_migrations_cluster",
}
Row = dict[str, Any]
#: Exit status; 1 says that nothing could be looked at.
_NEEDS_SOMEBODY = 2

#: Part of the report -> its title, its columns, and what stands there when it is empty.
_SHOWN = {
    "apis": (
        "Apis",
        "name address state heard_seconds_ago running_for_seconds",
        "none: nobody answers requests. Start `wherry api`.",
    ),
    "conductors": (
        "Conductors",
        "name id lease lease_ends_in_seconds running_for_seconds operations",
        "none: no migration goes on. Start `wherry conductor`.",
    ),
    "agents": (
        "Agents",
        "host state heard_seconds_ago driver hypervisor servers migrations_out migrations_in notes",
        "none has ever registered. Start `wherry agent`.",
    ),
    "operations": (
        "Operations in progress",
        "migration server_name kind status step source destination conductor_name age_seconds",
        "none.",
    ),
    "moves": (
        "Moves that wait to be confirmed or reverted",
        "migration server_name source destination waits_for_seconds notes",
        "none.",
    ),
    "chores": ("Owed to hosts that were away", "host command operation owed_for_seconds", "nothing."),
    "conflicts": ("Conflicts for a person to resolve", "server name host reason", "none."),
    "disputes": (
        "Guests that another host says to have, which their own does not confirm",
        "server recorded_on says claimed_by claimed_for_seconds",
        "none.",
    ),
}


def run(config_files: Sequence[str], *, output: str, is_check: bool = False) -> int:
    """Print it, as a table or as JSON.

    :param is_check: give 2 where something needs somebody.
    """
    config = configs.load(config_files)
    report = asyncio.run(_look(config))
    report["attention"] = attention.found(report, patience_seconds=config.default.service_down_time_seconds)
    print(json.dumps(report, indent=2) if output == "json" else "\n".join(_tables(report)))
    return _NEEDS_SOMEBODY if is_check and report["attention"] else 0


async def _look(config: configs.Config) -> Row:
    clock = clocks.SetClock(clocks.LoopClock())
    store = await stores.Store.open(config.database, clock)
    try:
        await timekeeping.Timekeeper(store=store, clock=clock, section=config.database).compare()
        schema = await store.check()
        found = {"schema": _schema(schema)}
        return found | await store.read(lambda uow: _fleet(uow, config)) if schema.is_usable else found
    finally:
        await store.close()


def _schema(state: runner.SchemaState) -> Row:
    return {"revision": state.current, "waiting": list(state.pending), "is_usable": state.is_usable}


async def _fleet(uow: uows.UnitOfWork, config: configs.Config) -> Row:
    options = config.default
    limits = admission.SlotLimits(
        outgoing=options.max_concurrent_live_migrations,
        incoming=options.max_concurrent_incoming_live_migrations,
        cluster=options.max_concurrent_live_migrations_cluster,
    )
    running = await uow.conductors.list()
    operations = await uow.overview.open_operations()
    agents = [_agent(one, uow.now, options.service_down_time_seconds) for one in await uow.hosts.list()]
    chores = await uow.chores.list()
    waits = _Waits(
        now=uow.now,
        live={one.id: one.name for one in running if one.is_live},
        expired={one.id: one for one in running if not one.is_live},
        queue={one.operation_id: one for one in await uow.slots.queue(limits)},
        intents=await uow.overview.pending_intents(),
        agents={one["host"]: one for one in agents},
        limits=config,
    )
    owned = Counter(one.owner for one in operations)
    return {
        "apis": [_api(one, uow.now, options.service_down_time_seconds) for one in await uow.apis.list()],
        "conductors": [_conductor(one, uow.now, owned[one.id]) for one in running],
        "agents": agents,
        "operations": [_operation(one, uow.now, waits) for one in operations],
        "chores": [
            {
                "host": one.host,
                "command": one.command,
                "operation": one.operation_id,
                "owed_for_seconds": _seconds(uow.now - one.owed_since),
            }
            for one in chores
        ],
        "moves": [move_row(one, uow.now, config) for one in await uow.migrations.unconfirmed()],
        "conflicts": [
            {"server": one.uuid, "name": one.name, "host": one.host, "reason": one.reason} for one in await uow.overview.conflicts()
        ],
        "disputes": [
            {
                "server": one.instance_uuid,
                "recorded_on": one.recorded_host,
                "says": one.recorded_state.value,
                "claimed_by": one.host,
                "claimed_for_seconds": _seconds(uow.now - one.since),
            }
            for one in await uow.disputes.list()
        ],
    }


def _seconds(span: datetime.timedelta) -> float:
    return round(span.total_seconds(), 1)


def _api(one: apis.Api, now: datetime.datetime, down_after_seconds: float) -> Row:
    heard = (now - one.heard_at).total_seconds()
    return {
        "name": one.name,
        "id": one.id,
        "address": one.address,
        "state": "up" if heard <= down_after_seconds else "silent",
        "heard_seconds_ago": _seconds(now - one.heard_at),
        "running_for_seconds": _seconds(now - one.started_at),
    }


def _conductor(one: conductors.Conductor, now: datetime.datetime, operations: int) -> Row:
    return {
        "name": one.name,
        "id": one.id,
        "running_for_seconds": _seconds(now - one.started_at),
        "renewed_seconds_ago": _seconds(now - one.renewed_at),
        "lease": "held" if one.is_live else "expired",
        "lease_ends_in_seconds": _seconds(one.expires_at - now),
        "operations": operations,
    }


def _agent(one: hosts.Host, now: datetime.datetime, down_time_seconds: float) -> Row:
    described = one.description
    return {
        "host": one.name,
        "state": "up" if hosts.is_up(one, now, down_time_seconds) else "down",
        "heard_seconds_ago": _seconds(now - one.last_seen_at),
        "driver": described.driver,
        "hypervisor": described.hypervisor_hostname,
        "hypervisor_type": described.hypervisor_type,
        "hypervisor_version": described.hypervisor_version,
        "servers": one.usage.servers,
        "migrations_out": one.usage.outgoing_migrations,
        "migrations_in": one.usage.incoming_migrations,
        "is_heard": (now - one.last_seen_at).total_seconds() <= down_time_seconds,
        "is_forced_down": one.is_forced_down,
        "is_disabled": one.is_disabled,
        "disabled_reason": one.disabled_reason,
    }


def move_row(one: migrations.Unconfirmed, now: datetime.datetime, config: configs.Config) -> Row:
    """Give what is told of a cold migration or resize that waits, and of what it waits for."""
    window, most = config.default.resize_confirm_window, config.conductor.confirm_retry_max_seconds
    due = confirmation.due_at(one.rested_at, one.refusals, window_seconds=window, most_seconds=most)
    notes = [f"{one.refusals} confirmations were refused"] if one.refusals else []
    if one.vm_state is not servers.VmState.RESIZED:
        notes.append(f"its state was reset to {one.vm_state.value}: it waits for a person")
    elif due is not None:
        notes.append(f"confirmed by itself in {max(0.0, _seconds(due - now)):g} s")
    return {
        "id": one.uuid,
        "migration": one.id,
        "server_name": one.server_name,
        "source": one.source_compute,
        "destination": one.dest_compute,
        "waits_for_seconds": _seconds(now - one.rested_at),
        "refused_confirmations": one.refusals,
        "notes": "; ".join(notes),
    }


def _operation(one: overview.OpenOperation, now: datetime.datetime, waits: _Waits) -> Row:
    queued = waits.queue.get(one.id)
    return {
        "id": one.id,
        "migration": one.migration_id,
        "server": one.instance_uuid,
        "server_name": one.server_name,
        "kind": one.kind.value,
        "status": one.status.value if one.status else None,
        "step": one.step.value,
        "source": one.source,
        "destination": one.destination,
        "conductor": one.owner,
        "conductor_name": waits.live.get(one.owner or ""),
        "age_seconds": _seconds(now - one.created_at),
        "stands_seconds": _seconds(now - (one.updated_at or one.created_at)),
        "newer": one.newer,
        "reason": f"{one.reason.slug}: {one.reason.message}" if one.reason is not None else None,
        "remedy": one.reason.remedy if one.reason is not None else None,
        "queue_position": queued.position if queued else None,
        "queue_waits_for": list(queued.waits_for) if queued else [],
        "waits_for": list(waits.of(one)),
    }


class _Waits:
    """Says what an operation waits for, in words."""

    def __init__(
        self,
        *,
        now: datetime.datetime,
        live: dict[str, str],
        expired: dict[str, conductors.Conductor],
        queue: dict[str, admission.Waiting],
        intents: list[overview.PendingIntent],
        agents: dict[str, Row],
        limits: configs.Config,
    ) -> None:
        self._now = now
        self.live = live
        self._expired = expired
        self.queue = queue
        self._intents = intents
        self._agents = agents
        self._limits = limits

    def of(self, one: overview.OpenOperation) -> Iterator[str]:
        """Give everything that keeps it."""
        if one.newer:
            yield f"{one.newer} is a newer release's: only a conductor of that release goes on with it"
        elif one.owner not in self.live:
            yield self._no_owner(one.owner)
        queued = self.queue.get(one.id)
        if queued is not None:
            yield f"place {queued.position} in the queue, since {_seconds(self._now - queued.queued_since):g} s: {self._slots(queued)}"
        if one.reason is not None:
            yield " ".join(filter(None, (f"{one.reason.slug}: {one.reason.message}", one.reason.remedy)))
        for intent in self._intents:
            if intent.operation_id == one.id:
                ago = _seconds(self._now - intent.requested_at)
                yield f"{intent.kind.value.replace('_', ' ')}, asked for {ago:g} s ago, is not taken up yet"
        for name in (one.source, one.destination):
            agent = self._agents.get(name or "")
            if agent is not None and agent["state"] == "down":
                yield f"the agent of {name} is down, heard of {agent['heard_seconds_ago']:g} s ago"

    def _no_owner(self, owner: str | None) -> str:
        lost = self._expired.get(owner or "")
        whose = f"the lease of {lost.name} ended {_seconds(self._now - lost.expires_at):g} s ago" if lost else "no conductor drives it now"
        if not self.live:
            return f"{whose}, and no other holds one"
        return f"{whose}; one that holds a lease takes it on at its next sweep"

    def _slots(self, queued: admission.Waiting) -> str:
        if not queued.waits_for:
            return "it may start now"
        wanted = []
        for item in queued.waits_for:
            kind, _, host = item.partition(":")
            where = {"outgoing": f"out of {host}", "incoming": f"into {host}", "cluster": "anywhere"}[kind]
            option = _SLOT_OPTIONS[kind]
            wanted.append(f"a slot {where} ({option} = {getattr(self._limits.default, option)})")
        return f"waits for {' and '.join(wanted)}"


def _tables(report: Row) -> Iterator[str]:
    schema = report["schema"]
    waiting = f"; run `wherry db upgrade` for {', '.join(schema['waiting'])}" if schema["waiting"] else ""
    yield f"Schema: {schema['revision'] or 'none yet'}{waiting}"
    yield from _needed(report["attention"])
    if not schema["is_usable"]:
        return
    for agent in report["agents"]:
        agent["notes"] = _notes(agent)
    for key, (title, columns, without) in _SHOWN.items():
        yield from _table(title, columns.split(), report[key], without)


def _needed(findings: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield "Needs attention:" if findings else "Needs attention: nothing."
    for one in findings:
        yield f"  {one['about']}: {one['why']}."
        yield f"      {one['do']}"


def _notes(agent: Row) -> str:
    disabled = f"disabled ({agent['disabled_reason']})" if agent["disabled_reason"] else "disabled"
    return ", ".join([*(["forced down"] if agent["is_forced_down"] else []), *([disabled] if agent["is_disabled"] else [])])


def _table(title: str, columns: Sequence[str], rows: Sequence[Row], without: str) -> Iterator[str]:
    yield ""
    if not rows:
        yield f"{title}: {without}"
        return
    yield f"{title}:"
    heads = [
        column.removesuffix("_name").replace("_seconds_ago", " ago").replace("_seconds", "").replace("_", " ").upper() for column in columns
    ]
    cells = [[_cell(column, row[column]) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in [heads, *cells]) for place in range(len(columns))]
    yield "  " + "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()
    for row, line in zip(rows, cells, strict=True):
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for wait in row.get("waits_for", ()):
            yield f"      {wait}"


def _cell(column: str, value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:g} s" if "seconds" in column and isinstance(value, float | int) else str(value)
