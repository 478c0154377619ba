# SPDX-License-Identifier: Apache-2.0
"""Scenario files: what they make, and what a mistake in one is answered with."""

from __future__ import annotations

import pathlib
import re
import time

import pytest

from tests.unit.drivers.simulated import two_hosts
from wherry import clock as wherry_clock
from wherry import errors
from wherry.config import simulated as section_module
from wherry.drivers import base, simulated
from wherry.drivers.simulated import building, scenario
from wherry.model import guest
from wherry.testing import virtual_time

TEXT = """
name: small
seed: 7
stores:
  shared: {capacity_gib: 100, locks: false}
hosts:
  - name: "rack-{n:02}"
    count: 2
    directories: {/shared: shared, /own: 10}
    profile: xenapi
  - name: spare
    cpu_level: 2
guests:
  - name: "web-{n}"
    count: 6
    hosts: "rack-*"
    memory_mib: [1024, 2048, 4096]
    dirty_mib_per_s: 12.5
    bridges: br0
    disks: [{directory: /shared, gib: 2, cache: writeback}]
  - {name: odd, hosts: spare, paused: true, snapshots: 1, passthrough_devices: "0000:01:00.0"}
"""


def build(text: str = TEXT) -> simulated.World:
    return building.build(scenario.parse(text, "small.yaml"), virtual_time.virtual_clock(), where="small.yaml")


def test_hosts_and_guests_are_made_by_count_and_spread() -> None:
    world = build()
    assert list(world.hosts) == ["rack-01", "rack-02", "spare"]
    assert [len(host.guests) for host in world.hosts.values()] == [3, 3, 1]
    first, second = world.hosts["rack-01"], world.hosts["rack-02"]
    assert first.stores["/shared"] is second.stores["/shared"] is not None
    assert first.stores["/own"] is not second.stores["/own"]
    assert first.profile.name == "xenapi" and world.hosts["spare"].cpu_level == 2
    specs = [local.spec for local in first.guests.values()]
    assert [spec.name for spec in specs] == ["web-1", "web-3", "web-5"]
    assert {spec.memory_mib for host in (first, second) for spec in [local.spec for local in host.guests.values()]} <= {1024, 2048, 4096}
    assert specs[0].dirty_mib_per_s == 12.5 and specs[0].hypervisor_type == "xen"
    assert first.stores["/shared"].used_bytes == 12 << 30
    (odd,) = world.hosts["spare"].guests.values()
    assert odd.state is guest.GuestState.PAUSED and odd.spec.passthrough_devices == ("0000:01:00.0",)


def test_the_seed_decides_uuids_and_draws_and_nothing_else_does() -> None:
    def specs(text: str) -> list[simulated.GuestSpec]:
        return [local.spec for host in build(text).hosts.values() for local in host.guests.values()]

    assert specs(TEXT) == specs(TEXT)
    other = specs(TEXT.replace("seed: 7", "seed: 8"))
    assert {spec.uuid for spec in other}.isdisjoint(spec.uuid for spec in specs(TEXT))


@pytest.mark.parametrize(
    ("text", "where", "instead"),
    [
        ("hosts: [{name: a}]", "name", "Add name."),
        ("name: x\nhosts: [{nmae: a}]", "hosts[0].nmae", "Did you mean name?"),
        ("name: x\nhosts: [{name: a, vcpus: many}]", "hosts[0].vcpus", "Write a valid integer."),
        ("name: x\nhosts: [{name: a, count: 2}]", "hosts[0].name", 'Write "a-{n}".'),
        ('name: x\nhosts: [{name: "a{m}", count: 2}]', "hosts[0].name", "Use {n} for the number"),
        ("name: x\nhosts: [{name: a}, {name: a}]", "hosts[1].name", "Give every host a name of its own."),
        ("name: x\nhosts: [{name: a, profile: kvm}]", "hosts[0].profile", "Use one of: libvirt"),
        ("name: x\nhosts: [{name: a, directories: {/d: shared}}]", "hosts[0].directories./d", "Add it to stores"),
        ("name: x\nhosts: [{name: a}]\nguests: [{name: g, hosts: b}]", "guests[0].hosts", "patterns"),
        ("name: x\nhosts: [{name: a}]\nguests: [{name: g, memory_mib: [0]}]", "guests[0].memory_mib[0]", "greater than or equal to 1"),
        (
            "name: x\nhosts: [{name: a}]\nguests: [{name: g, disks: [{directory: /d}]}]",
            "guests[0].disks[0].directory",
            "/var/lib/wherry/instances",
        ),
        ("name: x\nhosts: [{name: a}]\ncall_faults: [{kind: raise, slug: passthru}]", "call_faults[0].slug", "passthrough_device"),
        ("name: x\nhosts: [{name: a}]\ndisturbances: [{do: cut_link, host: b, at_seconds: 1}]", "disturbances[0].host", "Name one"),
        ("name: x\nhosts: [{name: a}]\ndisturbances: [{do: cut_link, host: a}]", "disturbances[0]", "at_seconds"),
        ("name: x\nhosts: [{name: a}]\ndisturbances: [{do: destroy_guest, guest: g, at_seconds: 1}]", "disturbances[0].guest", "Name one"),
        ("name: [", ", line ", "Correct the YAML"),
        ("- a\n- b", "small.yaml", "Start with name:"),
    ],
)
def test_a_mistake_is_answered_with_file_place_and_what_to_write(text: str, where: str, instead: str) -> None:
    with pytest.raises(errors.ConfigInvalid) as caught:
        build(text)
    assert str(caught.value.fields["where"]).startswith("small.yaml")
    assert where in str(caught.value.fields["where"])
    assert instead in caught.value.remedy


def test_a_file_that_is_not_there_is_answered_with_the_shipped_ones() -> None:
    with pytest.raises(errors.ConfigInvalid) as caught:
        scenario.load("/nowhere/fleet.yaml")
    assert "demo" in caught.value.remedy and "fleet-100x2000" in caught.value.remedy


@pytest.mark.parametrize("name", scenario.shipped())
def test_every_shipped_scenario_makes_a_world(name: str) -> None:
    world = building.build(scenario.load(name), wherry_clock.LoopClock())
    assert world.hosts and any(host.guests for host in world.hosts.values())


def test_the_scenario_on_the_page_makes_the_world_that_it_shows() -> None:
    page = (pathlib.Path(__file__).parents[4] / "docs" / "howto" / "simulated.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    world = building.build(scenario.parse(text, "the page"), wherry_clock.LoopClock())
    assert sorted(world.hosts) == ["esx1", "kvm1", "kvm2", "kvm3", "kvm4"]
    assert sum(len(host.guests) for host in world.hosts.values()) == 8


def test_two_thousand_servers_on_a_hundred_hosts_load_in_well_under_a_second() -> None:
    began = time.perf_counter()
    world = building.build(scenario.load("fleet-100x2000"), wherry_clock.LoopClock())
    assert time.perf_counter() - began < 0.5, "0.03 s on an idle machine"
    assert [len(host.guests) for host in world.hosts.values()] == [20] * 100


def test_the_demos_restless_guest_never_converges() -> None:
    async def body() -> None:
        clock = virtual_time.virtual_clock()
        world = building.build(scenario.load(None), clock)
        hosts = await two_hosts.TwoHosts.of(world, clock)
        (restless,) = [found for found in await hosts.drivers["a"].describe_guests() if found.name == "restless"]
        await hosts.start(restless.uuid, downtime_ms=500)
        await clock.sleep(3600)
        assert (await hosts.read(restless.uuid)).is_active

    two_hosts.run(body)


def test_disturbances_and_faults_of_a_file_take_effect() -> None:
    text = """
name: rough
hosts: [{name: "h{n}", count: 2, link_mib_per_s: 100}]
guests: [{name: g, hosts: h1, memory_mib: 1000}]
disturbances:
  - {do: destroy_guest, guest: g, on_step: {guest: g, step: started}}
  - {do: kill_daemon, host: h2, at_seconds: 50, seconds: 10}
call_faults: [{kind: raise, method: describe_host, host: h1, slug: host_unreachable}]
"""

    async def body() -> None:
        clock = virtual_time.virtual_clock()
        world = building.build(scenario.parse(text, "rough"), clock)
        hosts = await two_hosts.TwoHosts.of(world, clock)
        with pytest.raises(errors.HostUnreachable):
            await hosts.drivers["a"].describe_host()
        (uuid,) = world.hosts["h1"].guests
        await hosts.start(uuid)
        assert await hosts.states(uuid) == (guest.GuestState.SHUT_OFF, guest.GuestState.ABSENT)
        await clock.sleep(51)
        with pytest.raises(errors.HypervisorUnavailable):
            await hosts.drivers["b"].describe_host()
        await clock.sleep(10)
        await hosts.drivers["b"].describe_host()

    two_hosts.run(body)


# --------------------------------------------------------------------- the factory


@pytest.fixture
def file(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_the_factory_gives_one_world_to_all_hosts_of_a_file(file: str) -> None:
    section = section_module.SimulatedSection(scenario_file=file)
    settings = simulated.hosts(section)
    assert [(one.name, one.connection_uri) for one in settings] == [
        ("rack-01", "simulated://small/rack-01"),
        ("rack-02", "simulated://small/rack-02"),
        ("spare", "simulated://small/spare"),
    ]

    async def body() -> None:
        clock = virtual_time.virtual_clock()
        drivers = [simulated.driver(one, section, clock) for one in settings]
        for driver in drivers:
            await driver.open()
        uuids = [(await driver.describe_host()).hypervisor_uuid for driver in drivers]
        assert len(set(uuids)) == 3
        assert [len(await driver.describe_guests()) for driver in drivers] == [3, 3, 1]
        world = simulated.WORLDS.get(section, clock)
        assert world is simulated.WORLDS.get(section, clock)

    two_hosts.run(body)
    simulated.WORLDS.clear()


@pytest.mark.parametrize("uri", ["simulated://small/elsewhere", "simulated://large/spare", "qemu:///system"])
def test_the_factory_refuses_a_host_that_the_scenario_lacks(file: str, uri: str) -> None:
    section = section_module.SimulatedSection(scenario_file=file)
    with pytest.raises(errors.ConfigInvalid) as caught:
        simulated.driver(base.HostSettings(name="spare", connection_uri=uri), section, wherry_clock.LoopClock())
    assert "simulated://small/rack-01" in caught.value.remedy
    simulated.WORLDS.clear()
