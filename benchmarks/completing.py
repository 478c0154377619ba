# SPDX-License-Identifier: Apache-2.0
"""A thousand live migrations asked for at once, none of which takes time to copy: how fast they end, and what each costs.

That none was lost and no cap exceeded is read from the records afterwards. How long slots stay empty is told only: where no copy takes time
the machine does nothing but hand slots over, as fast as it can; `slots` has the times of one that is not at its limit.
"""

from __future__ import annotations

import collections
import json
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent import futures

from benchmarks import site, slots, usage
from benchmarks.measures import Measure
from wherry.testing.fleet import program

_HOSTS = 100
_CLIENTS = 16
_LIMIT_SECONDS = 1800.0


def measure(*, conductors: int, migrations: int) -> Iterator[Measure]:
    """Measure with PostgreSQL and NATS."""
    name = f"completions.{conductors}"
    with site.Site("postgresql", hosts=_HOSTS, guests=migrations, conductors=conductors) as running:
        servers = running.server_ids()
        messages = _messages(running)
        running.sql(slots.NOTING)
        running.sql("SELECT pg_stat_statements_reset()")
        before, begun = running.used(), running.now()
        _ask_for_all(running, servers)
        program.until(
            lambda: running.sql("SELECT count(*) FROM migrations WHERE finished_at IS NULL").strip() == "0",
            "the end",
            seconds=_LIMIT_SECONDS,
            interval_seconds=0.2,
        )
        took, used = running.now() - begun, running.used().since(before)
        messages = _messages(running) - messages
        statements = int(running.sql("SELECT sum(calls) FROM pg_stat_statements").strip())
        spans = slots.spans(running)
        memory = {one.name: usage.memory_mib(one.pid) for one in running.programs}
    statuses = collections.Counter(line[4] for line in spans)
    details = {"cpu_seconds": used, "statuses": dict(statuses), "migrations": migrations}
    is_one = conductors == 1
    yield Measure(name=name, value=migrations / took, unit="/s", at_least=30.0 if is_one else None, details=details)
    yield Measure(name=f"{name}.cpu", value=running.own(used) / migrations, unit="s/migration", at_most=0.05 if is_one else None)
    yield Measure(name=f"{name}.cpu-servers", value=(sum(used.values()) - running.own(used)) / migrations, unit="s/migration")
    yield Measure(name=f"{name}.lost", value=migrations - statuses["completed"], unit="migrations", at_most=0)
    yield Measure(name=f"{name}.statements", value=statements / migrations, unit="/migration")
    yield Measure(name=f"{name}.messages", value=messages / migrations, unit="/migration")
    yield from slots.of_slots(name, spans)
    for process, sizes in memory.items():
        yield Measure(name=f"memory.{name}.{process}", value=sizes["proportional_mib"], unit="MiB", details=sizes)


def _ask_for_all(running: site.Site, servers: Sequence[str]) -> None:
    def ask(server: str) -> int:
        return running.ask("POST", f"/v2.1/servers/{server}/action", site.LIVE_MIGRATE)[0]

    with futures.ThreadPoolExecutor(_CLIENTS) as clients:
        refused = collections.Counter(clients.map(ask, servers))
    if set(refused) != {202}:
        raise program.FleetError(f"not every request was accepted: {dict(refused)}")


def _messages(running: site.Site) -> int:
    """Give how many messages the bus took in until now."""
    with urllib.request.urlopen(f"{running.bus_url}/varz", timeout=10) as answer:
        return int(json.load(answer)["in_msgs"])
