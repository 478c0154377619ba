# SPDX-License-Identifier: Apache-2.0
"""How long the migrations of a conductor that is killed are without one."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import measures, site
from benchmarks.measures import Measure
from wherry.testing.fleet import program

_MIGRATIONS = 20
_BODY = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
_OPEN = "SELECT count(*) FROM operations WHERE finished_at IS NULL AND owner = '{owner}'"


def measure(*, times: int) -> Iterator[Measure]:
    """Kill a conductor in mid-migration, again and again; another one is started in its place."""
    options = {"DEFAULT": {"max_concurrent_live_migrations": 0, "max_concurrent_incoming_live_migrations": 0}}
    with site.Site("postgresql", hosts=20, guests=_MIGRATIONS, conductors=2, copy_seconds=600.0, options=options) as running:
        for server in running.server_ids():
            running.ask("POST", f"/v2.1/servers/{server}/action", _BODY)
        program.until(
            lambda: running.sql("SELECT count(*) FROM migrations WHERE status = 'running'").strip() == str(_MIGRATIONS), "all to run"
        )
        seconds = [_kill_one(running) for _ in range(times)]
    yield Measure(name="take-over.p50", value=measures.percentile(seconds, 50), unit="s")
    yield Measure(name="take-over.most", value=max(seconds), unit="s", at_most=5.0, details={"seconds": seconds})


def _kill_one(running: site.Site) -> float:
    owner = running.sql("SELECT owner FROM operations WHERE finished_at IS NULL GROUP BY owner ORDER BY count(*) DESC LIMIT 1").strip()
    victim = next(one for one in running.programs if one.command == "conductor" and owner in one.log.read_text())
    victim.kill()
    begun = running.now()
    program.until(lambda: running.sql(_OPEN.format(owner=owner)).strip() == "0", "the other one to take over", interval_seconds=0.05)
    took = running.now() - begun
    victim.start()
    return took
