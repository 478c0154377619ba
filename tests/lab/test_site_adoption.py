# SPDX-License-Identifier: Apache-2.0
"""SIGKILL for one agent alone at each stage of a migration, among processes that live: it is the same migration afterwards."""

from __future__ import annotations

import pytest

from tests.lab import checks, sites
from tests.lab import test_flow_adoption as stages

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture(scope="module")
def _shared_site(start_site: sites.StartSite) -> sites.SiteFlow:
    return start_site(
        # One slot, so that one migration can be made to wait for another.
        DEFAULT={"max_concurrent_live_migrations": 1},
        libvirt={"live_migration_permit_post_copy": True, "live_migration_postcopy_bandwidth": 4},
    )


@pytest.mark.parametrize(
    ("stage", "host"),
    [
        (stages.queued, "h1"),
        (stages.preparing, "h1"),
        (stages.preparing, "h2"),
        (stages.copying, "h1"),
        (stages.post_copy, "h1"),
        (stages.post_copy, "h2"),
        (stages.finishing, "h1"),
        (stages.finishing, "h2"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_an_agent_is_killed_at_a_stage(site: sites.SiteFlow, stage: stages.Stage, host: str, tell: checks.Tell) -> None:
    """The others go on without it; back, it takes up what is its own, with the budget and the deadline that there were."""
    scene = stages.Scene(site, checks.never_ending(site, "moved"), checks.never_ending(site, "blocker"))
    site.h1.migration_link.shape(mib_per_s=8)
    move, go_on = stage(scene)
    before = move.record
    assert before["status"] == stages.STATUSES[stage]
    agent = site.fleet.agents[host]
    agent.kill()
    site.h2.heal()
    agent.start()
    go_on()
    site.h1.restore_migration_link()
    record = move.until_ended(seconds=60)
    tell(f"{stage.__name__}: {before['status']} at the kill, {record['status']} afterwards")
    assert (record["status"], record["reason"]) == ("completed", None), record
    assert (record["created_at"], record["timeout_seconds"], record["on_timeout"]) == (
        before["created_at"],
        stages.BUDGET,
        "force_complete",
    )
    if before["deadline_at"] is not None:
        assert record["deadline_at"] == before["deadline_at"]
    checks.check_whole(site, scene.guest, "h2")
