# SPDX-License-Identifier: Apache-2.0
"""One agent process that watches a thousand transfers: how late it acts on their deadlines, and what it uses meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures

from benchmarks import measures, site
from benchmarks.measures import Measure
from wherry.testing.fleet import program

_HOSTS = 50
_CLIENTS = 8
#: Time for all to be under way before the first deadline, and over which the deadlines lie.
_FIRST_SECONDS, _SPREAD_SECONDS = 120, 60
_LIMIT_SECONDS = 900.0
_LATE = """
SELECT extract(epoch FROM e.started_at - m.deadline_at)
FROM migrations m JOIN instance_actions a ON a.instance_uuid = m.instance_uuid
JOIN instance_events e ON e.action_id = a.id AND e.name = 'deadline_applied'
"""


def measure(*, transfers: int) -> Iterator[Measure]:
    """Start transfers that never end by themselves, each with a deadline of its own."""
    options = {"DEFAULT": {"max_concurrent_live_migrations": 0, "max_concurrent_incoming_live_migrations": 0}}
    with site.Site("postgresql", hosts=_HOSTS, guests=transfers, copy_seconds=100_000.0, options=options) as running:
        servers = running.server_ids()

        def ask(number: int) -> int:
            keys: dict[str, object] = {"host": None, "block_migration": "auto", "on_timeout": "abort"}
            keys["timeout_seconds"] = _FIRST_SECONDS + number * _SPREAD_SECONDS // transfers
            return running.ask("POST", f"/v2.1/servers/{servers[number]}/action", {"os-migrateLive": keys}, "2.1000")[0]

        with futures.ThreadPoolExecutor(_CLIENTS) as clients:
            list(clients.map(ask, range(transfers)))
        program.until(
            lambda: int(running.sql("SELECT count(*) FROM migrations WHERE status = 'running'")) >= transfers,
            "all to be under way",
            seconds=_LIMIT_SECONDS,
            interval_seconds=0.5,
        )
        before, begun = running.used(), running.now()
        program.until(
            lambda: running.sql("SELECT count(*) FROM migrations WHERE finished_at IS NULL").strip() == "0",
            "all deadlines",
            seconds=_LIMIT_SECONDS,
            interval_seconds=0.5,
        )
        took, used = running.now() - begun, running.used().since(before)
        late = [float(line) for line in running.sql(_LATE).split()]
    details = {"transfers": transfers, "deadlines": len(late), "cpu_seconds": used, "seconds": round(took, 1)}
    yield Measure(name="monitors.decision-delay.p50", value=measures.percentile(late, 50) * 1000, unit="ms", details=details)
    yield Measure(name="monitors.decision-delay.p99", value=measures.percentile(late, 99) * 1000, unit="ms", at_most=500.0)
    yield Measure(name="monitors.agent-cpu", value=used["agent"] / took, unit="cores", at_most=1.0)
