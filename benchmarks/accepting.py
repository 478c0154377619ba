# SPDX-License-Identifier: Apache-2.0
"""How fast live migrations are accepted: every request names another server, and only 202s count.

The conductors are up. Held: they begin nothing ([conductor] max_concurrent_checks = 0), so that what is measured is accepting. Beside it,
what a site does. Checked: they check what was accepted as fast as they can beside the requests; one migration has the only slot of the
cluster for the whole time, so that the others are queued. Running: there are as many slots as hosts have, and what was accepted moves
meanwhile. How many of those accepted had been checked when the load ended is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import load, site, usage
from benchmarks.measures import Measure

_HOSTS = 20
_BODY = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
_Options = Mapping[str, Mapping[str, int]]
_CHECKED: _Options = {"DEFAULT": {"max_concurrent_live_migrations_cluster": 1}}
_HELD: _Options = {**_CHECKED, "conductor": {"max_concurrent_checks": 0}}
#: Microversion -> how such requests are answered.
_KINDS = {"2.90": "async", "2.30": "blocking"}
_AIMS = {
    # (store, kind, clients) -> accepts a second, p99 in milliseconds
    ("postgresql", "async", 16): (400.0, 100.0),
    ("sqlite", "async", 16): (350.0, 200.0),
}
_MOST_CPU_SECONDS = 0.003
_ACCEPTED = 202
_CHECKED_ONES = "SELECT count(*) FROM migrations WHERE status <> 'accepted'"
#: More than any accept takes: the list of servers must not run out.
_PER_SECOND = {"async": 1400, "blocking": 400}


def measure(store: str, *, clients: Sequence[int], seconds: float) -> Iterator[Measure]:
    """Measure every kind with every number of clients, each on a site of its own."""
    for version, kind in _KINDS.items():
        for number in clients:
            with _site(store, kind, seconds, _HELD) as (running, servers):
                yield from _one(running, servers, name=f"accepts.{store}.{kind}.{number}", version=version, clients=number, seconds=seconds)
    for name, options in (("async-checked", _CHECKED), ("async-running", {})):
        with _site(store, "async", seconds, options) as (running, servers):
            yield from _one(running, servers, name=f"accepts.{store}.{name}.16", version="2.90", clients=16, seconds=seconds)


@contextlib.contextmanager
def _site(store: str, kind: str, seconds: float, options: _Options) -> Iterator[tuple[site.Site, list[str]]]:
    count = round(_PER_SECOND[kind] * (seconds + 2))
    # Where there are slots, the one that has the first is copied for an hour.
    with site.Site(store, hosts=_HOSTS, guests=count, copy_seconds=3600.0 if options else 0.0, options=options) as running:
        servers = running.server_ids()
        if options:
            running.ask("POST", f"/v2.1/servers/{servers.pop()}/action", _BODY)
        yield running, servers


def _one(running: site.Site, servers: Sequence[str], *, name: str, version: str, clients: int, seconds: float) -> Iterator[Measure]:
    paths = [f"/v2.1/servers/{server}/action" for server in servers]
    body = _BODY if version == "2.90" else {"os-migrateLive": {"host": None, "block_migration": "auto", "force": False}}
    checked = running.count(_CHECKED_ONES)
    before = running.used()
    done = load.run(running.url, paths, running.directory, clients=clients, seconds=seconds, method="POST", body=body, version=version)
    used = running.used().since(before)
    checked = running.count(_CHECKED_ONES) - checked
    accepted = done.codes.get(_ACCEPTED, 0)
    _, store, kind, _number = name.split(".")
    rate, p99 = _AIMS.get((store, kind, clients), (None, None))
    details = {
        "codes": {str(status): count for status, count in done.codes.items()},
        "latency_ms": {str(share): value for share, value in done.latency_ms.items()},
        "failures": done.failures,
        "checked_by_then": checked,
        "client_cpu_seconds": round(done.client_cpu_seconds, 3),
        "cpu_seconds": used,
        "memory_mib": {one.name: usage.memory_mib(one.pid) for one in running.programs},
        "durability": running.durability,
    }
    yield Measure(name=name, value=done.per_second(_ACCEPTED), unit="/s", at_least=rate, details=details)
    yield Measure(name=f"{name}.p50", value=done.latency_ms[50], unit="ms")
    yield Measure(name=f"{name}.p99", value=done.latency_ms[99], unit="ms", at_most=p99)
    limit = _MOST_CPU_SECONDS if rate else None
    yield Measure(name=f"{name}.api-cpu", value=running.cpu_of("api", used) / max(1, accepted), unit="s/accept", at_most=limit)
    yield Measure(name=f"{name}.cpu", value=running.own(used) / max(1, accepted), unit="s/accept", at_most=limit)
    yield Measure(name=f"{name}.client-cpu", value=done.client_cpu_seconds / max(1, accepted), unit="s/accept")
