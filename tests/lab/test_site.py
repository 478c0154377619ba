# SPDX-License-Identifier: Apache-2.0
"""Real processes of every kind over real guests, and SIGKILL for each in mid-migration: nothing is lost, no deadline is missed."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from typing import Any

import httpx
import pytest

from tests.lab import checks, flow, sites
from wherry.testing import fleet as fleets
from wherry.testing import lab as labs

pytestmark = pytest.mark.lab

_pause = threading.Event()
#: Ends something, and brings it back.
Fault = tuple[Callable[[], object], Callable[[], object]]


@pytest.fixture(scope="module")
def _shared_site(start_site: sites.StartSite) -> sites.SiteFlow:
    return start_site(libvirt={"live_migration_permit_post_copy": True})


def _moving(site: sites.SiteFlow, guest: labs.Guest, **budget: Any) -> flow.Move:
    """Ask for a migration that does not end by itself, and wait until it copies."""
    move = site.live_migrate(guest, version=flow.OWN, **budget)
    move.until_copying(site.h1)
    return move


def _program(one: fleets.Program) -> Fault:
    return one.kill, one.start


def test_a_migration_outlives_every_process_and_both_servers(site: sites.SiteFlow) -> None:
    """First what works on it is killed at once, and the other api and conductor go on; then bus and database."""
    guest = checks.never_ending(site)
    site.h1.migration_link.shape(mib_per_s=9)
    move = _moving(site, guest, timeout_seconds=100, on_timeout="abort")
    begun, due = move.record["created_at"], checks.deadline_at(move)
    killed = [site.fleet.apis[0], site.site.owner_of(move), site.fleet.agents["h1"]]
    for one in killed:
        one.kill()
    site.turn_to(1)
    sent = flow.job(site.h1, guest)["memory_processed"]
    flow.until(lambda: site.site.owner_of(move) not in killed, "the other conductor to take it over", seconds=10)
    with futures.ThreadPoolExecutor(len(killed)) as pool:
        list(pool.map(lambda one: one.start(), killed))
    flow.until(lambda: (move.record["memory_processed_bytes"] or 0) > sent, "its counters to be reported again")
    site.fleet.nats.kill()
    site.fleet.postgres.crash()
    assert site.request("GET", "/servers").status_code == 503
    site.fleet.postgres.start()
    site.fleet.nats.start()
    sent = flow.job(site.h1, guest)["memory_processed"]
    flow.until(lambda: site.request("GET", "/servers").status_code == 200, "the api to answer again")
    flow.until(lambda: (move.record["memory_processed_bytes"] or 0) > sent, "its counters to be reported again")
    assert (move.record["created_at"], checks.deadline_at(move)) == (begun, due), "it is the same migration"
    site.h1.restore_migration_link()
    record = move.until_ended()
    assert (record["status"], record["reason"], record["dest_compute"]) == ("completed", None, "h2")
    checks.check_whole(site, guest, "h2")
    _check_nothing_is_left(site)


def _check_nothing_is_left(site: sites.SiteFlow) -> None:
    """No operation, no chore, nothing that was asked and not taken up."""
    told = site.site.status()
    deadline = time.monotonic() + 60
    while told["operations"] or told["chores"]:
        assert time.monotonic() < deadline, told
        told = site.site.status()
    assert told["conflicts"] == []


#: Slower than the guests write.
_LINK_MIB_PER_S = 9


def _fault(site: sites.SiteFlow, name: str, move: flow.Move) -> Fault:
    fleet = site.fleet
    if name == "api":
        site.turn_to(1)
        return _program(fleet.apis[0])
    if "conductor" in name:
        owner = site.site.owner_of(move)
        return _program(owner if name == "owning conductor" else next(one for one in fleet.conductors if one is not owner))
    if "agent" in name:
        return _program(fleet.agents[{"source agent": "h1", "destination agent": "h2", "bystanding agent": "h3"}[name]])
    if name == "bus":
        return fleet.nats.kill, fleet.nats.start
    if name == "database":
        return fleet.postgres.crash, fleet.postgres.start
    if name == "migration link":
        # As narrow as it was: through a wide one the guest would arrive before its time is up.
        return site.h1.migration_link.cut, functools.partial(site.h1.migration_link.restore, mib_per_s=_LINK_MIB_PER_S)
    return site.h1.control_link.cut, site.h1.control_link.restore


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("api", 6),
        ("owning conductor", 6),
        ("other conductor", 6),
        ("source agent", 2),
        ("source agent", 6),
        ("destination agent", 6),
        ("bystanding agent", 6),
        ("bus", 6),
        ("bus", 20),
        ("database", 6),
        ("database", 60),
        ("migration link", 3),
        ("control link", 3),
    ],
)
def test_whoever_is_away_for_a_while_nothing_is_lost(site: sites.SiteFlow, name: str, seconds: float, tell: checks.Tell) -> None:
    """One guest's budget runs out some seconds after its copy began; the other one arrives when its link is wide again."""
    late, calm = checks.never_ending(site, "late", range_mib=16), checks.never_ending(site, "calm", range_mib=16)
    site.h1.migration_link.shape(mib_per_s=_LINK_MIB_PER_S)
    # A hypervisor that cannot be reached cannot be told: the link is back before the deadline, on a busy machine too.
    budget = 15 if name == "control link" else 6
    staying = _moving(site, late, timeout_seconds=budget, on_timeout="abort")
    due = checks.deadline_at(staying)
    going = _moving(site, calm)
    end, bring_back = _fault(site, name, staying)
    end()
    _pause.wait(seconds)
    bring_back()
    returned = time.time()
    ended = staying.until_ended(seconds=60)
    assert (ended["status"], ended["reason"]) == ("cancelled", "deadline"), ended
    is_agents = name == "source agent"
    checks.check_deadline(staying, "abort", tell, outage=max(0.0, returned - due) if is_agents else 0.0)
    site.h1.restore_migration_link()
    arrived = going.until_ended(seconds=60)
    assert (arrived["status"], arrived["reason"], arrived["dest_compute"]) == ("completed", None, "h2"), arrived
    checks.check_whole(site, late, "h1")
    checks.check_whole(site, calm, "h2")
    _check_nothing_is_left(site)


@pytest.mark.slow
def test_three_budgets_and_the_agent_is_killed_before_they_run_out(site: sites.SiteFlow, tell: checks.Tell) -> None:
    """Abort, post-copy and pause. SIGKILL for the source's agent alone 2 s before, and it is started again at once."""
    agent = site.fleet.agents["h1"]
    with futures.ThreadPoolExecutor(3) as pool:
        guests = list(pool.map(lambda name: checks.never_ending(site, name, range_mib=16), ("aborted", "switched", "paused")))
    site.h1.migration_link.shape(mib_per_s=9)
    aborted = _moving(site, guests[0], timeout_seconds=10, on_timeout="abort")
    switched = _moving(site, guests[1], timeout_seconds=10, on_timeout="force_complete")
    # Whether a transfer may switch is settled when it starts: the third one is left with the pause.
    agent.reconfigure("libvirt", live_migration_permit_post_copy=False)
    try:
        paused = _moving(site, guests[2], timeout_seconds=10, on_timeout="force_complete")
    finally:
        agent.write("libvirt", live_migration_permit_post_copy=True)
    moves = {aborted: "abort", switched: "switch to post-copy", paused: "pause the guest"}
    due = {one: checks.deadline_at(one) for one in moves}
    _pause.wait(min(due.values()) - 2 - time.time())
    assert {one.record["status"] for one in moves} == {"running"}
    agent.kill()
    place = agent.log_size()
    agent.start(is_awaited=False)
    fleets.until(lambda: agent.wait_logged("Wherry's agent serves", after=place), "it to serve", interval_seconds=0.01)
    returned = time.time()
    tell(f"the source's agent was killed 2 s before the first deadline and served again {returned - min(due.values()):+.2f} s after it")
    ends = {moves[one]: (record["status"], record["reason"]) for one in moves if (record := one.until_ended(seconds=60))}
    assert ends == {"abort": ("cancelled", "deadline"), "switch to post-copy": ("completed", None), "pause the guest": ("completed", None)}
    for one, what in moves.items():
        checks.check_deadline(one, what, tell, outage=max(0.0, returned - due[one]))
    site.h1.restore_migration_link()
    for one, host in ((aborted, "h1"), (switched, "h2"), (paused, "h2")):
        checks.check_whole(site, one.guest, host)
    _check_nothing_is_left(site)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(3))
def test_processes_that_die_at_any_moment_leave_every_guest_where_its_record_says(
    site: sites.SiteFlow, seed: int, tell: checks.Tell
) -> None:
    """Guests are sent to and fro, while one process after the other is killed and started again."""
    chance = random.Random(seed)
    hosts = [site.h1, site.h2, site.h3]
    guests = [site.guest(f"wanderer{number}", payload="counter", memory_mib=64, range_mib=24, rate_mib_per_s=10) for number in range(4)]
    programs = list(site.fleet.programs())
    killed: list[str] = []
    accepted = 0
    with futures.ThreadPoolExecutor(4) as pool:
        for _ in range(15):
            accepted += sum(_send_on(site, guest, chance.choice(hosts)) for guest in chance.sample(guests, 2))
            _pause.wait(chance.uniform(0, 1))
            victim = chance.choice([one for one in programs if one.is_running])
            victim.kill()
            killed.append(victim.name)
            is_back = pool.submit(victim.start)
            if chance.random() < 0.7:
                is_back.result()
    for one in programs:
        one.wait_ready(60)
    site.turn_to(0)
    _check_nothing_is_left(site)
    found = [one for guest in guests for one in site.get(f"/os-migrations?instance_uuid={guest.uuid}", version=flow.OWN)["migrations"]]
    outcomes = Counter(one["status"] for one in found)
    reasons = Counter(one["reason_message"] for one in found if one["reason"])
    tell(f"seed {seed}: {len(killed)} kills, {accepted} migrations accepted, of which {dict(outcomes)}; {dict(reasons)}")
    assert sum(outcomes.values()) >= accepted
    assert outcomes["completed"] > 0
    for guest in guests:
        server = site.server(guest)
        assert server is not None
        checks.check_whole(site, guest, server["OS-EXT-SRV-ATTR:host"])


def _send_on(site: sites.SiteFlow, guest: labs.Guest, host: labs.Host) -> bool:
    """Ask one of the apis that live to move a guest, if one answers; it may be on its way already, or there."""
    for number, api in enumerate(site.fleet.apis):
        if api.is_running and api.probe("/healthz/ready")[0] == 200:
            site.turn_to(number)
            try:
                return site.ask(guest, host).answer.status_code == 202
            except httpx.TransportError:
                continue
    return False


@pytest.mark.slow
def test_a_migration_outlives_a_rolling_restart(site: sites.SiteFlow, tell: checks.Tell) -> None:
    """SIGTERM and a new start for every process in turn, as an upgrade does it; the guest's deadline stays what it was."""
    guest = checks.never_ending(site)
    site.h1.migration_link.shape(mib_per_s=9)
    move = _moving(site, guest, timeout_seconds=300, on_timeout="abort")
    due = checks.deadline_at(move)
    for one in site.fleet.programs():
        if one is site.fleet.apis[0]:
            site.turn_to(1)
        begun = time.monotonic()
        assert one.stop() == 0
        tell(f"{one.name} ended {time.monotonic() - begun:.1f} s after SIGTERM")
        one.start()
        assert flow.job(site.h1, guest), "the copy goes on"
        if one is site.fleet.apis[0]:
            site.turn_to(0)
        assert (move.record["status"], checks.deadline_at(move)) == ("running", due)
    sent = flow.job(site.h1, guest)["memory_processed"]
    flow.until(lambda: (move.record["memory_processed_bytes"] or 0) > sent, "its counters to be reported")
    site.h1.restore_migration_link()
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("completed", None)
    checks.check_whole(site, guest, "h2")
    _check_nothing_is_left(site)
