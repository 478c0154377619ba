# SPDX-License-Identifier: Apache-2.0
"""Which commands are let in: late ones refused, doubled ones joined, those about one guest in turn, those about others unhindered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.agent import rig as rigs
from wherry import errors
from wherry.drivers import simulated
from wherry.model import guest, migration
from wherry.rpc import messages

pytestmark = [pytest.mark.unit, pytest.mark.virtual_time]

REQUEST = migration.LiveMigrationRequest(microversion="2.34")


async def up(rig: rigs.Rig) -> simulated.GuestSpec:
    rig.add_hosts()
    spec = rig.world.add_guest("h1", "g")
    await rig.start()
    return spec


def slow(rig: rigs.Rig, method: str, seconds: float, host_name: str = "h2") -> simulated.CallFault:
    fault = simulated.CallFault(kind=simulated.FaultKind.DELAY, method=method, host=host_name, seconds=seconds, nth=0)
    rig.world.faults.add(fault)
    return fault


async def test_duplicates_of_a_step_in_progress_join_it(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    fault = slow(rig, "prepare_destination", 5)
    answers = await asyncio.gather(*(rig.conductor.ask("h2", messages.PrepareDestination(**planned)) for _ in range(3)))
    assert fault.seen == 1
    assert len({answer.model_dump_json() for answer in answers}) == 1


async def test_a_duplicate_is_given_the_error_of_the_step_that_it_joined(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    fault = slow(rig, "prepare_destination", 5)
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.RAISE, method="prepare_destination", slug="preparation_failed"))
    asks = [rig.conductor.ask("h2", messages.PrepareDestination(**planned)) for _ in range(2)]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [errors.PreparationFailed] * 2
    assert fault.seen == 1


async def test_a_step_goes_on_when_its_caller_has_gone(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    fault = slow(rig, "prepare_destination", 10)
    with pytest.raises(errors.RpcTimeout):
        await rig.conductor.ask("h2", messages.PrepareDestination(**planned), 1)
    # The repetition finds the first one still at work.
    await rig.conductor.ask("h2", messages.PrepareDestination(**planned))
    assert fault.seen == 1


async def test_lower_epochs_are_refused_whatever_they_ask(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec, epoch=3)
    await rig.conductor.ask("h2", messages.ObserveGuest(**rig.ids(spec, epoch=3)))
    late: list[messages.Request[Any]] = [
        messages.PrepareDestination(**{**planned, "epoch": 2}),
        messages.ObserveGuest(**rig.ids(spec, epoch=2)),
        messages.RollBackDestination(**{**planned, "epoch": 2}),
    ]
    for command in late:
        with pytest.raises(errors.StaleEpoch, match="3 is known"):
            await rig.conductor.ask("h2", command)
    await rig.conductor.ask("h2", messages.PrepareDestination(**{**planned, "epoch": 4}))


async def test_the_epoch_is_known_after_a_restart(rig: rigs.Rig) -> None:
    spec = await up(rig)
    await rig.conductor.ask("h2", messages.ObserveGuest(**rig.ids(spec, epoch=3)))
    rig.kill("h2")
    await (await rig.start_agent("h2")).agent.ready()
    with pytest.raises(errors.StaleEpoch):
        await rig.conductor.ask("h2", messages.PrepareDestination(**await rig.planned(spec, epoch=2)))


async def test_who_joins_with_a_higher_epoch_is_not_refused_for_the_lower_one(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    slow(rig, "release_check", 5)
    slow(rig, "prepare_destination", 5)
    # The preparation waits for its turn when the new owner asks for it again.
    first = asyncio.create_task(rig.conductor.ask("h2", messages.ReleaseCheck(**rig.ids(spec), probes=())))
    await asyncio.sleep(1)
    old = asyncio.create_task(rig.conductor.ask("h2", messages.PrepareDestination(**planned)))
    await asyncio.sleep(1)
    await rig.conductor.ask("h2", messages.PrepareDestination(**{**planned, "epoch": 2}))
    await asyncio.gather(first, old)


async def test_a_check_that_is_asked_for_anew_does_not_join_the_one_that_was_given_up(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    fault = slow(rig, "check_destination", 5)
    check = {**rig.ids(spec), "guest": planned["plan"].guest, "request": planned["request"], "source": await rig.describe("h1")}
    first = asyncio.create_task(rig.conductor.ask("h2", messages.CheckDestination(**check, generation=1)))
    await asyncio.sleep(1)
    again = asyncio.create_task(rig.conductor.ask("h2", messages.CheckDestination(**check, generation=1)))
    release = asyncio.create_task(rig.conductor.ask("h2", messages.ReleaseCheck(**rig.ids(spec), probes=(), generation=2)))
    await asyncio.sleep(1)
    await rig.conductor.ask("h2", messages.CheckDestination(**check, generation=3))
    await asyncio.gather(first, again, release)
    assert fault.seen == 2


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_after_the_end_only_the_same_end_is_answered(rig: rigs.Rig, is_restarted: bool) -> None:
    spec = await up(rig)
    planned = await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    answer = await rig.conductor.ask("h2", messages.FinishDestination(**planned))
    assert answer.guest.uuid == spec.uuid
    await rig.conductor.ask("h1", messages.FinishSource(**planned))
    assert rig.agents["h1"].parts.journal.get(rigs.OPERATION).transfer is None, "what is over needs no room"
    if is_restarted:
        rig.kill("h2")
        await (await rig.start_agent("h2")).agent.ready()
    assert await rig.conductor.ask("h2", messages.FinishDestination(**{**planned, "epoch": 2})) == answer
    late: tuple[type[messages.Request[messages.StageDone]], ...] = (messages.RollBackDestination, messages.PrepareDestination)
    for kind in late:
        with pytest.raises(errors.StaleEpoch, match="ended here by FinishDestination"):
            await rig.conductor.ask("h2", kind(**{**planned, "epoch": 3}))
    assert rig.state_at("h2", spec) is guest.GuestState.RUNNING
    seen = await rig.conductor.ask("h2", messages.ObserveGuest(**rig.ids(spec, epoch=3)))
    assert seen.observation.state is guest.GuestState.RUNNING


async def test_a_start_that_comes_after_the_undo_starts_nothing(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    await rig.conductor.ask("h1", messages.RollBackSource(**planned))
    with pytest.raises(errors.StaleEpoch, match="ended here by RollBackSource"):
        await rig.conductor.ask("h1", messages.StartTransfer(**planned))
    await asyncio.sleep(60)
    assert rig.state_at("h1", spec) is guest.GuestState.RUNNING
    assert rig.state_at("h2", spec) is guest.GuestState.ABSENT


async def test_a_preparation_that_comes_after_the_undo_creates_nothing(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.planned(spec)
    await rig.conductor.ask("h2", messages.RollBackDestination(**planned))
    fault = slow(rig, "prepare_destination", 0)
    with pytest.raises(errors.StaleEpoch):
        await rig.conductor.ask("h2", messages.PrepareDestination(**planned))
    assert fault.seen == 0


async def test_steps_about_one_guest_take_turns_and_those_of_others_do_not_wait(rig: rigs.Rig) -> None:
    spec = await up(rig)
    other = rig.world.add_guest("h1", "other")
    slow(rig, "release_check", 30)
    began = rig.clock.monotonic()
    first = asyncio.create_task(rig.conductor.ask("h2", messages.ReleaseCheck(**rig.ids(spec), probes=())))
    await asyncio.sleep(1)
    same = asyncio.create_task(rig.conductor.ask("h2", messages.PrepareDestination(**await rig.planned(spec))))
    await rig.conductor.ask("h2", messages.PrepareDestination(**await rig.planned(other, operation_id="other")))
    assert rig.clock.monotonic() - began < 2
    await rig.conductor.ask("h2", messages.ObserveGuest(**rig.ids(spec)))
    assert rig.clock.monotonic() - began < 2
    await same
    assert rig.clock.monotonic() - began >= 30
    await first


async def test_a_hypervisor_that_hangs_holds_up_neither_the_beats_nor_other_commands(rig: rigs.Rig) -> None:
    spec = await up(rig)
    other = rig.world.add_guest("h2", "other")
    rig.world.faults.add(simulated.CallFault(kind=simulated.FaultKind.HANG, host="h2", guest=spec.uuid, nth=0))
    hung = asyncio.create_task(rig.conductor.ask("h2", messages.PrepareDestination(**await rig.planned(spec))))
    before = len(rig.conductor.of(messages.Heartbeat))
    await asyncio.sleep(25)
    assert not hung.done()
    assert len(rig.conductor.of(messages.Heartbeat)) >= before + 4
    async with asyncio.timeout(1):
        await rig.conductor.ask("h2", messages.DescribeGuest(**rig.ids(other, operation_id="other")))
    with pytest.raises(errors.HypervisorUnavailable):
        await hung


async def test_the_next_migration_of_a_guest_takes_the_place_of_one_that_is_over(rig: rigs.Rig) -> None:
    spec = await up(rig)
    planned = await rig.start_transfer(spec)
    await rig.conductor.wait_for(messages.TransferEnded)
    await rig.conductor.ask("h2", messages.FinishDestination(**planned))
    # The source was owed its cleaning when the guest came back to it.
    back = {**planned, "operation_id": "back"}
    await rig.conductor.ask("h1", messages.PrepareDestination(**back))
    with pytest.raises(errors.StaleEpoch, match="ended here by another migration"):
        await rig.conductor.ask("h1", messages.FinishSource(**planned))


async def test_a_late_command_of_another_migration_does_not_displace_one_under_way(rig: rigs.Rig) -> None:
    rig.add_hosts(link_mib_per_s=rigs.SLOW)
    spec = rig.world.add_guest("h1", "g", dirty_mib_per_s=500.0)
    await rig.start()
    planned = await rig.start_transfer(spec)
    with pytest.raises(errors.StaleEpoch, match="under way here"):
        await rig.conductor.ask("h1", messages.StartTransfer(**{**planned, "operation_id": "late"}))
    assert rig.world.copying.of(spec.uuid) is not None


async def test_a_check_that_crashes_is_an_answer_about_the_check(rig: rigs.Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = await up(rig)
    described = (await rig.conductor.ask("h1", messages.DescribeGuest(**rig.ids(spec)))).guest
    source = await rig.describe("h1")
    check = messages.CheckDestination(**rig.ids(spec), guest=described, request=REQUEST, source=source)

    async def crash(*_args: object) -> None:
        raise KeyError("nic")

    with monkeypatch.context() as patched:
        patched.setattr(rig.agents["h2"].driver, "check_destination", crash)
        with pytest.raises(errors.CheckCrashed, match=r"KeyError: 'nic'") as caught:
            await rig.conductor.ask("h2", check)
    assert "in crash" in caught.value.remote_traceback
    assert (await rig.conductor.ask("h2", check)).facts.host == "h2"


async def test_a_check_that_takes_too_long_is_an_answer_about_the_check(rig: rigs.Rig) -> None:
    rig.configure("default", long_rpc_timeout=20)
    spec = await up(rig)
    described = (await rig.conductor.ask("h1", messages.DescribeGuest(**rig.ids(spec)))).guest
    facts = migration.DestinationFacts(host="h2", connection_uri=rig.world.uri("h2"))
    slow(rig, "check_source", 1000, "h1")
    with pytest.raises(errors.CheckTimeout):
        await rig.conductor.ask("h1", messages.CheckSource(**rig.ids(spec), guest=described, request=REQUEST, facts=facts))


async def test_an_unknown_guest_is_named(rig: rigs.Rig) -> None:
    await up(rig)
    ids = {"operation_id": "x", "epoch": 1, "instance_uuid": "nobody"}
    with pytest.raises(errors.GuestNotFound, match="h1 has no guest nobody"):
        await rig.conductor.ask("h1", messages.DescribeGuest(**ids))
    seen = await rig.conductor.ask("h1", messages.ObserveGuest(**{**ids, "operation_id": "", "epoch": 0}))
    assert seen.observation.state is guest.GuestState.ABSENT
    assert "" not in rig.storages["h1"].notes
