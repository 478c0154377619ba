# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own parts on real processes: what they count is what happened."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import completing, load, site
from wherry.testing import postgres_server
from wherry.testing.fleet import nats

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _needed(require_real: Callable[[str, str | None], None]) -> None:
    require_real("PostgreSQL", postgres_server.why_unavailable())
    require_real("nats-server", nats.why_unavailable())
    require_real("wrk", load.why_unavailable())


def test_every_request_goes_to_another_server_and_is_counted_by_its_answer() -> None:
    with site.Site("sqlite", hosts=4, guests=400) as running:
        servers = running.server_ids()
        paths = [f"/v2.1/servers/{one}" for one in servers[:3]] + ["/v2.1/servers/none"] * 50_000
        done = load.run(running.url, paths, running.directory, clients=2, seconds=1.0)
        assert done.codes[200] == 3
        assert done.codes[404] > 0
        with pytest.raises(load.LoadFailed, match="give more"):
            load.run(running.url, paths[:3], running.directory, clients=2, seconds=1.0)


def test_none_of_many_at_once_is_lost_and_no_cap_exceeded_with_two_conductors() -> None:
    found = {one.name: one for one in completing.measure(conductors=2, migrations=60)}
    assert found["completions.2.lost"].value == 0
    assert found["completions.2.most-out-of-a-host"].is_met
    assert found["completions.2.most-into-a-host"].is_met
    assert found["completions.2.statements"].value > 0
    assert found["completions.2.messages"].value > 0
