# SPDX-License-Identifier: Apache-2.0
"""How a host makes itself known, keeps alive, and tells which guests it has."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.agent import rig as rigs
from wherry import errors
from wherry.drivers import simulated
from wherry.model import guest
from wherry.rpc import messages

pytestmark = [pytest.mark.unit, pytest.mark.virtual_time]


async def test_it_registers_beats_and_reports_everything_under_its_own_name(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start("h1")
    registered = await rig.conductor.wait_for(messages.RegisterHost)
    assert registered.name == "h1"
    assert registered.replaces == ""
    assert registered.description.driver == "simulated"
    report = await rig.conductor.wait_for(messages.ReportInventory)
    assert report.is_complete
    assert report.incarnation == registered.incarnation
    assert [(one.uuid, one.definition, one.cpu) for one in report.guests] == [(spec.uuid, "", "")]
    await asyncio.sleep(41)
    assert len(rig.conductor.of(messages.Heartbeat)) == 4
    assert set(rig.conductor.senders) == {"h1"}


async def test_the_successor_names_the_incarnation_that_it_replaces(rig: rigs.Rig) -> None:
    rig.add_hosts()
    await rig.start("h1")
    first = await rig.conductor.wait_for(messages.RegisterHost)
    rig.kill("h1")
    await rig.start_agent("h1")
    second = await rig.conductor.wait_for(messages.RegisterHost, 2)
    assert second.replaces == first.incarnation
    assert second.incarnation != first.incarnation


async def test_it_registers_anew_when_the_conductor_does_not_know_it(rig: rigs.Rig) -> None:
    rig.add_hosts()
    await rig.start("h1")
    await rig.conductor.wait_for(messages.ReportInventory)
    rig.conductor.registered.clear()
    await rig.conductor.wait_for(messages.RegisterHost, 2, seconds=11)
    report = await rig.conductor.wait_for(messages.ReportInventory, 2, seconds=1)
    assert report.is_complete


async def test_without_a_conductor_it_works_and_registers_later(rig: rigs.Rig) -> None:
    rig.add_hosts()
    await (await rig.start_agent("h1")).agent.ready()
    await asyncio.sleep(300)
    await rig.conductor.start()
    await rig.conductor.wait_for(messages.RegisterHost, seconds=11)
    await rig.conductor.wait_for(messages.ReportInventory, seconds=1)


async def test_a_refusal_is_told_to_whoever_runs_the_agent(rig: rigs.Rig) -> None:
    rig.add_hosts()
    rig.conductor.refuses[messages.RegisterHost] = errors.HostRefused(host="h1", problem="h9 has this hypervisor", instead="Stop h9.")
    await rig.start("h1")
    with pytest.raises(errors.HostRefused, match="h9 has this hypervisor"):
        await rig.agents["h1"].agent.refused()
    await asyncio.sleep(100)
    assert not rig.conductor.of(messages.Heartbeat)


async def test_a_hypervisor_that_is_not_there_yet_is_waited_for(rig: rigs.Rig) -> None:
    rig.add_hosts()
    rig.disturb.kill_daemon("h1")
    await rig.conductor.start()
    process = await rig.start_agent("h1")
    await asyncio.sleep(100)
    spec = rig.world.add_guest("h1", "g")
    with pytest.raises(errors.HypervisorUnavailable, match="not reached it yet"):
        await rig.conductor.ask("h1", messages.DescribeGuest(**rig.ids(spec)))
    rig.disturb.start_daemon("h1")
    async with asyncio.timeout(16):
        await process.agent.ready()
    await rig.conductor.wait_for(messages.RegisterHost, seconds=1)


async def test_a_change_is_reported_soon_and_changes_at_one_time_together(rig: rigs.Rig) -> None:
    rig.add_hosts()
    specs = [rig.world.add_guest("h1", f"g{number}") for number in range(3)]
    await rig.start("h1")
    await rig.conductor.wait_for(messages.ReportInventory)
    for spec in specs[:2]:
        rig.disturb.pause_guest("h1", spec.uuid)
    report = await rig.conductor.wait_for(messages.ReportInventory, 2, seconds=0.2)
    assert not report.is_complete
    assert {one.uuid: one.state for one in report.guests} == {spec.uuid: guest.GuestState.PAUSED for spec in specs[:2]}
    assert report.sequence > rig.conductor.of(messages.ReportInventory)[0].sequence


async def test_a_guest_that_went_away_is_named_as_absent(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g", is_persistent=False)
    await rig.start("h1")
    await rig.conductor.wait_for(messages.ReportInventory)
    rig.disturb.destroy_guest("h1", spec.uuid)
    report = await rig.conductor.wait_for(messages.ReportInventory, 2, seconds=0.2)
    assert (report.guests, report.absent) == ((), (spec.uuid,))


async def test_a_guest_on_its_way_in_is_no_server_of_the_host_until_it_has_arrived(rig: rigs.Rig) -> None:
    rig.configure("agent", inventory_interval_seconds=5.0)
    rig.add_hosts(link_mib_per_s=100.0)
    spec = rig.world.add_guest("h1", "g", memory_mib=4096)
    await rig.start()
    planned = await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    while_incoming = [report for report in rig.conductor.of(messages.ReportInventory) if report.name == "h2"]
    assert len(while_incoming) > 5
    assert not any(spec.uuid in report.absent for report in while_incoming)
    arrived_at = next((n for n, report in enumerate(while_incoming) if report.guests), len(while_incoming))
    assert arrived_at >= len(while_incoming) - 1
    await rig.conductor.ask("h2", messages.FinishDestination(**planned))
    await asyncio.sleep(0.2)
    last = [report for report in rig.conductor.of(messages.ReportInventory) if report.name == "h2"][-1]
    assert [one.uuid for one in last.guests] == [spec.uuid]


async def test_everything_is_reported_from_time_to_time_and_when_the_hypervisor_is_back(rig: rigs.Rig) -> None:
    rig.add_hosts()
    await rig.start("h1")
    await rig.conductor.wait_for(messages.ReportInventory)
    await rig.conductor.wait_for(messages.ReportInventory, 2, seconds=61)
    rig.disturb.kill_daemon("h1", back_after_seconds=5)
    report = await rig.conductor.wait_for(messages.ReportInventory, 3, seconds=16)
    assert all(one.is_complete for one in rig.conductor.of(messages.ReportInventory))
    assert [one.sequence for one in rig.conductor.of(messages.ReportInventory)] == sorted(
        one.sequence for one in rig.conductor.of(messages.ReportInventory)
    )
    assert report.description is not None


async def test_an_inventory_that_was_not_taken_is_sent_again(rig: rigs.Rig) -> None:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start("h1")
    await rig.conductor.wait_for(messages.ReportInventory)
    rig.conductor.refuses[messages.ReportInventory] = errors.DatabaseUnavailable(detail="away")
    rig.disturb.pause_guest("h1", spec.uuid)
    await rig.conductor.wait_for(messages.ReportInventory, 4)
    del rig.conductor.refuses[messages.ReportInventory]
    last = await rig.conductor.wait_for(messages.ReportInventory, 5)
    assert [one.uuid for one in last.guests] == [spec.uuid]


async def test_an_error_that_nobody_foresaw_ends_no_inventory(rig: rigs.Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver trips over one guest for a while: the change is reported once it does not any more."""
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start("h1")
    await rig.conductor.wait_for(messages.ReportInventory)

    async def trip(uuids: object = None) -> list[guest.Guest]:
        raise KeyError("a device that is new to the driver")

    with monkeypatch.context() as patch:
        patch.setattr(rig.agents["h1"].driver, "describe_guests", trip)
        rig.disturb.pause_guest("h1", spec.uuid)
        await asyncio.sleep(30)
    assert len(rig.conductor.of(messages.ReportInventory)) == 1
    report = await rig.conductor.wait_for(messages.ReportInventory, 2)
    assert [(one.uuid, one.state) for one in report.guests] == [(spec.uuid, guest.GuestState.PAUSED)]


async def test_a_long_list_is_divided_and_the_last_part_names_what_went_before(rig: rigs.Rig) -> None:
    rig.configure("bus", max_message_bytes=65536)
    rig.add_hosts()
    uuids = {rig.world.add_guest("h1", f"guest-{number}").uuid for number in range(500)}
    await rig.start("h1")
    async with asyncio.timeout(5):
        while not any(report.is_complete for report in rig.conductor.of(messages.ReportInventory)):
            await rig.conductor.wait_for(messages.ReportInventory, len(rig.conductor.of(messages.ReportInventory)) + 1)
    *parts, last = rig.conductor.of(messages.ReportInventory)
    assert len(parts) >= 2
    assert not any(part.is_complete for part in parts)
    assert set(last.described_before) == {one.uuid for part in parts for one in part.guests}
    assert set(last.described_before) | {one.uuid for one in last.guests} == uuids
    assert max(len(report.model_dump_json()) for report in (*parts, last)) < 65536


async def test_a_hypervisor_that_hangs_leaves_the_beats_alone(rig: rigs.Rig) -> None:
    rig.add_hosts()
    await rig.start("h1")
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, nth=0))
    await asyncio.sleep(200)
    assert len(rig.conductor.of(messages.Heartbeat)) >= 19


async def test_it_says_what_keeps_it_from_serving_its_host(rig: rigs.Rig) -> None:
    rig.add_hosts()
    rig.disturb.kill_daemon("h1")
    agent = (await rig.start_agent("h1")).agent

    async def lacking(*expected: str) -> None:
        # Longer than any pause between two tries.
        await asyncio.sleep(20)
        assert [(one.what, one.host) for one in agent.lacks()] == [(what, "h1") for what in expected]

    await lacking("hypervisor")
    rig.disturb.start_daemon("h1")
    await lacking("conductor")
    await rig.conductor.start()
    await lacking()
    rig.disturb.kill_daemon("h1")
    await lacking("hypervisor")
    rig.disturb.start_daemon("h1")
    await lacking()
    await rig.conductor.stop()
    await lacking("conductor")
