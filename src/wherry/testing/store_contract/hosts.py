# SPDX-License-Identifier: Apache-2.0
"""What is promised of hosts: who may register, who lives, what is taken of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wherry import errors
from wherry.db.repositories import hosts as records
from wherry.model import host, operation, server, states
from wherry.testing.store_contract import harness as harnesses


class RegistrationContract:
    """An agent starts, beats, ends."""

    async def test_a_registered_host_is_found_by_name_and_by_both_ids(self, harness: harnesses.Harness) -> None:
        made = await harness.make_host("host-a")
        assert (made.name, made.incarnation, made.last_seen_at, made.usage) == ("host-a", "host-a-1", harness.clock.now(), host.Usage())
        assert await harness.store.read(lambda uow: uow.hosts.get("host-a")) == made
        assert await harness.store.read(lambda uow: uow.hosts.get_by_id(made.id)) == made
        assert await harness.store.read(lambda uow: uow.hosts.get_by_id(made.uuid)) == made
        with pytest.raises(errors.HostNotFound):
            await harness.store.read(lambda uow: uow.hosts.get_by_id(made.id + 1))

    async def test_a_second_name_for_one_hypervisor_is_refused_naming_the_first(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a", hypervisor_uuid="the same")
        with pytest.raises(errors.HostRefused, match="host-a") as refused:
            await harness.make_host("host-b", hypervisor_uuid="the same")
        assert "retry_after_seconds" not in refused.value.fields
        assert [one.name for one in await harness.store.read(lambda uow: uow.hosts.list())] == ["host-a"]

    async def test_a_successor_is_refused_while_its_predecessor_beats(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        harness.clock.advance(45)
        with pytest.raises(errors.HostRefused, match="host-a-1") as refused:
            await harness.make_host("host-a", incarnation="host-a-2")
        assert refused.value.fields["retry_after_seconds"] == 15
        assert refused.value.fields["predecessor"] == "host-a-1"
        assert await harness.store.run(lambda uow: uow.hosts.heartbeats([("host-a", "host-a-1")]))

    async def test_a_successor_registers_after_silence(self, harness: harnesses.Harness) -> None:
        before = await harness.make_host("host-a")
        harness.clock.advance(60.5)
        after = await harness.make_host("host-a", incarnation="host-a-2")
        assert (after.id, after.uuid, after.incarnation) == (before.id, before.uuid, "host-a-2")
        assert not await harness.store.run(lambda uow: uow.hosts.heartbeats([("host-a", "host-a-1")]))

    async def test_a_successor_registers_at_once_after_a_goodbye(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        assert not await harness.store.run(lambda uow: uow.hosts.sign_off("host-a", "somebody else"))
        assert await harness.store.run(lambda uow: uow.hosts.sign_off("host-a", "host-a-1"))
        assert (await harness.make_host("host-a", incarnation="host-a-2")).incarnation == "host-a-2"
        with pytest.raises(errors.HostRefused):
            await harness.make_host("host-a", incarnation="host-a-3")

    async def test_a_successor_that_holds_the_journal_registers_at_once(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        with pytest.raises(errors.HostRefused):
            await harness.make_host("host-a", incarnation="host-a-2", replaces={"another"})
        assert (await harness.make_host("host-a", incarnation="host-a-2", replaces={"host-a-0", "host-a-1"})).incarnation == "host-a-2"

    async def test_registering_again_renews_the_description_and_keeps_the_switches(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        await harness.store.run(lambda uow: uow.hosts.update_service("host-a", is_disabled=True, disabled_reason="disk"))
        registration = harness.registration("host-a")
        grown = dataclasses.replace(registration, description=dataclasses.replace(registration.description, memory_mib=8192))
        after = await harness.store.run(lambda uow: uow.hosts.register(grown, 60))
        assert (after.description.memory_mib, after.is_disabled, after.disabled_reason) == (8192, True, "disk")

    async def test_heartbeats_count_for_the_current_incarnation_only(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        await harness.make_host("host-b")
        started = harness.clock.now()
        later = harness.clock.advance(10)
        current = await harness.store.run(lambda uow: uow.hosts.heartbeats([("host-b", "not this one"), ("host-a", "host-a-1")]))
        assert current == {("host-a", "host-a-1")}
        assert await harness.store.run(lambda uow: uow.hosts.heartbeats([])) == set()
        seen = {one.name: one.last_seen_at for one in await harness.store.read(lambda uow: uow.hosts.list())}
        assert seen == {"host-a": later, "host-b": started}

    async def test_an_inventory_is_taken_in_once_and_in_order(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        taken = [
            await harness.store.run(_taking(incarnation, sequence))
            for incarnation, sequence in [("host-a-1", 1), ("host-a-1", 3), ("host-a-1", 2), ("host-a-1", 3), ("old", 9)]
        ]
        assert taken == ["host-a.example", "host-a.example", None, None, None]
        await harness.make_host("host-a", incarnation="host-a-2", replaces={"host-a-0", "host-a-1"})
        assert await harness.store.run(lambda uow: uow.hosts.accept_inventory("host-a", "host-a-2", 1))

    async def test_inventories_that_change_nothing_are_taken_in_together(self, harness: harnesses.Harness) -> None:
        names = ["host-a", "host-b", "host-c"]
        for name in names:
            await harness.make_host(name)
        told = await harness.store.look(lambda uow: uow.inventories.told([*names, "host-z"]))
        assert [(told[name].incarnation, told[name].sequence, told[name].has_disputes) for name in names] == [
            (f"{name}-1", 0, False) for name in names
        ]
        await harness.store.run(_taking("host-a-1", 3))
        await harness.make_host("host-b", incarnation="host-b-2", replaces={"host-b-1"})
        # host-a has told more since it was read, host-b has another agent.
        accepted = await harness.store.run(lambda uow: uow.inventories.accept_next([(told[name], 5) for name in names]))
        assert accepted == {"host-c"}
        assert await harness.store.put(lambda uow: uow.inventories.accept_next([(told["host-a"], 5)])) == set()
        told = await harness.store.look(lambda uow: uow.inventories.told(names))
        assert [told[name].sequence for name in names] == [3, 0, 5]
        assert await harness.store.put(lambda uow: uow.inventories.accept_next([(told["host-a"], 5)])) == {"host-a"}
        assert await harness.store.run(_taking("host-a-1", 5)) is None


def _taking(incarnation: str, sequence: int) -> Any:
    return lambda uow: uow.hosts.accept_inventory("host-a", incarnation, sequence)


class HostListContract:
    """The service's switches, lists, usage."""

    async def test_the_switches_turn_one_by_one(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        off = await harness.store.run(lambda uow: uow.hosts.update_service("host-a", is_disabled=True, disabled_reason="disk"))
        down = await harness.store.run(lambda uow: uow.hosts.update_service("host-a", is_forced_down=True))
        on = await harness.store.run(lambda uow: uow.hosts.update_service("host-a", is_disabled=False))
        turned = [(one.is_disabled, one.disabled_reason, one.is_forced_down) for one in (off, down, on)]
        assert turned == [(True, "disk", False), (True, "disk", True), (False, None, True)]
        with pytest.raises(errors.HostNotFound):
            await harness.store.run(lambda uow: uow.hosts.update_service("host-z", is_disabled=True))

    async def test_a_description_is_renewed_for_the_same_hypervisor_only(self, harness: harnesses.Harness) -> None:
        made = await harness.make_host("host-a")
        grown = dataclasses.replace(made.description, memory_mib=8192, uptime_seconds=60.0)
        await harness.store.run(lambda uow: uow.hosts.update_description("host-a", grown))
        other = dataclasses.replace(made.description, hypervisor_uuid="another")
        with pytest.raises(errors.HostNotFound):
            await harness.store.run(lambda uow: uow.hosts.update_description("host-a", other))
        renewed = await harness.store.read(lambda uow: uow.hosts.get("host-a"))
        assert renewed.description == grown
        assert made.booted_at is None
        assert renewed.booted_at is not None and renewed.updated_at is not None
        assert (renewed.updated_at - renewed.booted_at).total_seconds() == 60.0, "by the store's time, whatever the agent's clock says"

    async def test_lists_are_filtered_and_paged_by_either_id(self, harness: harnesses.Harness) -> None:
        made = [await harness.make_host(name) for name in ("host-a", "host-b", "h_st-c", "host-d")]
        await harness.store.run(lambda uow: uow.hosts.update_service("host-d", is_disabled=True))

        async def names(query: records.HostQuery) -> list[str]:
            return [one.name for one in await harness.store.read(lambda uow: uow.hosts.list(query))]

        assert await names(records.HostQuery(limit=2)) == ["host-a", "host-b"]
        assert await names(records.HostQuery(limit=2, marker=made[1].id)) == ["h_st-c", "host-d"]
        assert await names(records.HostQuery(marker=made[2].uuid)) == ["host-d"]
        assert await names(records.HostQuery(hypervisor_hostname_part="h_st")) == ["h_st-c"]
        assert await names(records.HostQuery(names=["host-b", "host-x"])) == ["host-b"]
        assert await names(records.HostQuery(is_disabled=True)) == ["host-d"]
        with pytest.raises(errors.MarkerNotFound):
            await names(records.HostQuery(marker="nobody"))

    async def test_usage_counts_servers_and_what_is_on_its_way_until_it_is_over(self, harness: harnesses.Harness) -> None:
        for name in ("host-a", "host-b"):
            await harness.make_host(name)
        await harness.make_server(host="host-b", memory_mib=100, vcpus=1, root_gib=5)
        gone = await harness.make_server(host="host-b")
        await harness.store.run(lambda uow: uow.servers.update(gone, deleted_at=uow.now))
        moving = await harness.make_queued("host-a", "host-b", memory_mib=1000, vcpus=4, root_gib=2)

        async def usage() -> dict[str, host.Usage]:
            return {one.name: one.usage for one in await harness.store.read(lambda uow: uow.hosts.list())}

        on_a = host.Usage(memory_mib=1000, vcpus=4, disk_gib=2, servers=1)
        on_b = host.Usage(memory_mib=100, vcpus=1, disk_gib=5, servers=1)
        assert await usage() == {
            "host-a": dataclasses.replace(on_a, outgoing_migrations=1),
            "host-b": host.Usage(memory_mib=1100, vcpus=5, disk_gib=7, servers=1, incoming_migrations=1),
        }
        await harness.advance(moving, states.Event.ABORTED)
        assert await usage() == {"host-a": on_a, "host-b": on_b}

    async def test_a_server_that_has_arrived_is_counted_once(self, harness: harnesses.Harness) -> None:
        for name in ("host-a", "host-b"):
            await harness.make_host(name)
        moving = await harness.make_queued("host-a", "host-b", memory_mib=1000)
        await harness.advance(moving, operation.Transition(server=server.ServerChange(host="host-b")))
        taken = (await harness.store.read(lambda uow: uow.hosts.get("host-b"))).usage
        assert (taken.servers, taken.memory_mib, taken.incoming_migrations) == (1, 1000, 1)

    async def test_a_host_that_is_owed_its_cleaning_goes_on_being_claimed(self, harness: harnesses.Harness) -> None:
        for name in ("host-a", "host-b"):
            await harness.make_host(name)
        moving = await harness.make_queued("host-a", "host-b", memory_mib=1000)
        await harness.advance(moving, states.Event.ABORTED)
        assert (await harness.store.read(lambda uow: uow.hosts.get("host-b"))).usage.memory_mib == 0
        await harness.store.run(lambda uow: uow.chores.add(moving.id, "host-b", "RollBackDestination", {}))
        taken = (await harness.store.read(lambda uow: uow.hosts.get("host-b"))).usage
        assert (taken.memory_mib, taken.incoming_migrations) == (1000, 0)

    async def test_listing_takes_as_many_statements_for_many_hosts_as_for_one(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-0")
        _, for_one = await harness.statements_of(lambda uow: uow.hosts.list())
        for number in range(1, 8):
            await harness.make_host(f"host-{number}")
        found, for_many = await harness.statements_of(lambda uow: uow.hosts.list())
        assert (len(found), for_many) == (8, for_one)
