# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: each kind of process ends in order, and nobody notices. With a lease of half a minute, so that no take-over hides behind it."""

from __future__ import annotations

import concurrent.futures
import re
import signal
import time
from typing import Any

import pytest

from tests.integration.processes import conftest
from wherry.testing import fleet as fleets

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


def _owner_of(site: conftest.Site, name: str) -> str:
    statement = f"SELECT owner FROM operations WHERE instance_uuid = '{site.uuid(name)}' AND finished_at IS NULL"
    return site.fleet.sql(statement).strip()


def _id_of(conductor: fleets.Program) -> str:
    return conductor.log.read_text().rpartition("conductor drives as ")[2].split()[0]


def _count_signed_off(site: conftest.Site) -> str:
    return site.fleet.sql("SELECT count(*) FROM hosts WHERE is_signed_off").strip()


def test_what_one_api_accepted_the_other_shows(site: conftest.Site) -> None:
    assert site.migrate("quick-1", api=0).status_code == 202
    site.until_status("quick-1", "completed")
    shown = site.request("GET", f"/servers/{site.uuid('quick-1')}", api=1).json()["server"]
    assert shown["OS-EXT-SRV-ATTR:host"] == "h2"


def test_the_next_conductor_goes_on_at_once(site: conftest.Site) -> None:
    first, second = site.fleet.conductors
    owners = {_id_of(one): one for one in (first, second)}
    site.migrate("slow-1")
    site.until_status("slow-1", "running")
    owner = _owner_of(site, "slow-1")
    leaving = owners[owner]
    (staying,) = (one for key, one in owners.items() if key != owner)
    assert leaving.stop() == 0
    begun = time.monotonic()
    fleets.until(lambda: _owner_of(site, "slow-1") == _id_of(staying), "the other one to take it over", seconds=5, interval_seconds=0.01)
    took = time.monotonic() - begun
    leaving.start()
    assert took < 1, f"taken over {took:.2f} s after the other had ended"
    assert site.status("slow-1") == "running"


def test_an_api_finishes_its_requests(site: conftest.Site) -> None:
    """Clients below 2.34 wait for the checks: they get their answer from an api that is told to end meanwhile."""
    leaving = site.fleet.apis[1]
    names = [f"quick-{number}" for number in range(5, 15)]
    for name in names:
        site.uuid(name)
    # Nobody answers the checks for a second, so that all wait.
    agent = site.fleet.agents["agent"]
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        agent.signal(signal.SIGSTOP)
        answers = [pool.submit(site.migrate, name, api=1, version="2.1") for name in names]
        fleets.until(lambda: [site.status(name) for name in names] == ["accepted"] * len(names), "all to be accepted")
        leaving.signal(signal.SIGTERM)
        leaving.wait_logged("The process ends")
        agent.signal(signal.SIGCONT)
        codes = [one.result(30).status_code for one in answers]
    assert codes == [202] * len(names)
    assert leaving.wait() == 0
    leaving.start()


def test_an_agent_signs_off_and_its_successor_signs_on(site: conftest.Site) -> None:
    agent = site.fleet.agents["agent"]
    assert agent.stop() == 0
    assert _count_signed_off(site) == "3"
    agent.start()
    fleets.until(lambda: _count_signed_off(site) == "0", "all to be registered")


def test_a_second_agent_of_the_same_hosts_ends_and_names_the_first(site: conftest.Site) -> None:
    first = site.fleet.agents["agent"]
    options: dict[str, dict[str, Any]] = {
        "DEFAULT": {"state_path": site.fleet.directory / "second", "report_interval_seconds": 1, "service_down_time_seconds": 5},
        "agent": {"driver": "simulated"},
        "simulated": {"scenario_file": first.option("simulated", "scenario_file")},
        "bus": {"transport_url": site.fleet.nats.url},
    }
    with fleets.Program("agent", "second", site.fleet.directory, options) as second:
        second.start(is_awaited=False)
        assert second.wait() == 1
        # Whichever of its hosts was the first to be refused.
        assert re.search(r"^wherry: Host h[123] is refused: ", second.log.read_text(), re.MULTILINE)
    assert first.lacks() == []
