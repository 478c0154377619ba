# SPDX-License-Identifier: Apache-2.0
"""What is promised of server groups, of the neighbours that they give a server, of sizes and totals, and of forgetting a host."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.db.repositories import server_groups as records
from wherry.db.repositories import servers as server_records
from wherry.model import migration, operation, server, server_group, states
from wherry.testing.store_contract import harness as harnesses

_POLICY = server_group.Policy.ANTI_AFFINITY


async def _make(harness: harnesses.Harness, name: str = "g", project_id: str = "p1") -> server_group.ServerGroup:
    new = records.NewGroup(name=name, project_id=project_id, user_id="u1", policy=_POLICY, max_servers_per_host=2)
    return await harness.store.run(lambda uow: uow.server_groups.create(new))


class ServerGroupContract:
    """Groups and who is in them."""

    async def test_a_group_is_found_with_its_members_in_the_order_in_which_they_joined(self, harness: harnesses.Harness) -> None:
        group = await _make(harness)
        two, one = await harness.make_server(), await harness.make_server()
        for member in (one, two, one):
            await harness.store.run(lambda uow, uuid=member.uuid: uow.server_groups.add(group, uuid))  # type: ignore[misc]  # bound at once
        found = await harness.store.read(lambda uow: uow.server_groups.get(group.uuid))
        assert (found.members, found.policy, found.max_servers_per_host) == ((one.uuid, two.uuid), _POLICY, 2)
        assert await harness.store.read(lambda uow: uow.server_groups.group_of(one.uuid)) == group.uuid
        await harness.store.run(lambda uow: uow.server_groups.remove(group, one.uuid))
        found = await harness.store.read(lambda uow: uow.server_groups.get(group.uuid))
        assert found.members == (two.uuid,)
        assert await harness.store.read(lambda uow: uow.server_groups.group_of(one.uuid)) is None

    async def test_groups_are_listed_by_project_in_pages(self, harness: harnesses.Harness) -> None:
        made = [await _make(harness, name, project) for name, project in (("a", "p1"), ("b", "p2"), ("c", "p1"))]
        listed = await harness.store.read(lambda uow: uow.server_groups.list("p1", limit=10, offset=0))
        assert [group.name for group in listed] == ["a", "c"]
        listed = await harness.store.read(lambda uow: uow.server_groups.list(None, limit=1, offset=1))
        assert listed == [made[1]]
        assert await harness.store.read(lambda uow: uow.server_groups.count("p1")) == 2

    async def test_a_server_is_in_one_group_at_most(self, harness: harnesses.Harness) -> None:
        first, second = await _make(harness), await _make(harness)
        member = await harness.make_server()
        await harness.store.run(lambda uow: uow.server_groups.add(first, member.uuid))
        with pytest.raises(errors.ServerInOtherGroup, match=first.uuid):
            await harness.store.run(lambda uow: uow.server_groups.add(second, member.uuid))
        await harness.store.run(lambda uow: uow.server_groups.delete(first))
        await harness.store.run(lambda uow: uow.server_groups.add(second, member.uuid))
        with pytest.raises(errors.ServerGroupNotFound):
            await harness.store.read(lambda uow: uow.server_groups.get(first.uuid))

    async def test_neighbours_are_counted_where_they_are_and_where_they_go(self, harness: harnesses.Harness) -> None:
        group = await _make(harness)
        owned = await harness.make_owned()
        moving = owned.instance_uuid
        source = (await harness.server(moving)).host
        own, other = await harness.make_server(host="elsewhere"), await harness.make_server(host="elsewhere")
        for uuid in (moving, own.uuid, other.uuid):
            await harness.store.run(lambda uow, uuid=uuid: uow.server_groups.add(group, uuid))  # type: ignore[misc]  # bound at once
        owned = await harness.advance(owned, operation.Transition(dest_compute="there"))
        neighbours = await harness.store.read(lambda uow: uow.server_groups.neighbours_of(own.uuid))
        assert neighbours is not None
        assert (neighbours.group, neighbours.policy, neighbours.max_servers_per_host) == (group.uuid, _POLICY, 2)
        assert dict(neighbours.on_hosts) == {source: 1, "there": 1, "elsewhere": 1}
        await harness.advance(owned, operation.Transition(event=states.Event.CHECK_FAILED))
        neighbours = await harness.store.read(lambda uow: uow.server_groups.neighbours_of(own.uuid))
        assert neighbours is not None
        assert dict(neighbours.on_hosts) == {source: 1, "elsewhere": 1}


class SizeContract:
    """What servers have, added up."""

    async def test_each_size_is_told_once_smallest_first(self, harness: harnesses.Harness) -> None:
        for vcpus, memory_mib, project_id in ((2, 1024, "p1"), (1, 512, "p1"), (2, 1024, "p1"), (4, 512, "p2")):
            await harness.make_server(vcpus=vcpus, memory_mib=memory_mib, root_gib=1, project_id=project_id)
        size = server_records.Size
        small, large = size(vcpus=1, memory_mib=512, root_gib=1), size(vcpus=2, memory_mib=1024, root_gib=1)
        assert await harness.store.read(lambda uow: uow.servers.sizes("p1")) == [small, large]
        assert await harness.store.read(lambda uow: uow.servers.sizes(None)) == [small, large, size(vcpus=4, memory_mib=512, root_gib=1)]
        totals = await harness.store.read(lambda uow: uow.servers.totals("p1"))
        assert totals == server_records.Totals(servers=3, vcpus=5, memory_mib=2560)
        nothing = await harness.store.read(lambda uow: uow.servers.totals("p9"))
        assert nothing == server_records.Totals(servers=0, vcpus=0, memory_mib=0)


class RemovalContract:
    """A host is forgotten when nothing is left of it."""

    async def test_a_host_without_servers_and_migrations_is_forgotten(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        await harness.store.run(lambda uow: uow.hosts.remove("host-a"))
        with pytest.raises(errors.HostNotFound):
            await harness.store.read(lambda uow: uow.hosts.get("host-a"))
        with pytest.raises(errors.HostNotFound):
            await harness.store.run(lambda uow: uow.hosts.remove("host-a"))
        await harness.make_host("host-a")

    async def test_a_host_with_servers_is_kept(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-a")
        await harness.make_server(host="host-a")
        with pytest.raises(errors.HostInUse, match="hosting instances"):
            await harness.store.run(lambda uow: uow.hosts.remove("host-a"))

    async def test_a_host_that_a_migration_goes_to_is_kept_until_its_end(self, harness: harnesses.Harness) -> None:
        await harness.make_host("host-b")
        owned = await harness.advance(await harness.make_owned(), operation.Transition(dest_compute="host-b"))
        with pytest.raises(errors.HostInUse, match="in-progress migrations"):
            await harness.store.run(lambda uow: uow.hosts.remove("host-b"))
        await harness.advance(owned, operation.Transition(event=states.Event.CHECK_FAILED))
        await harness.store.run(lambda uow: uow.hosts.remove("host-b"))

    async def test_both_ends_of_a_cold_migration_are_kept_until_it_is_settled(self, harness: harnesses.Harness) -> None:
        for name in ("host-a", "host-b"):
            await harness.make_host(name)
        moving = await harness.make_owned(host="host-a", request=migration.ColdMigrationRequest())
        moving = await harness.advance(moving, operation.Transition(dest_compute="host-b"))
        for event in (states.Event.MOVE_STARTED, states.Event.MOVED):
            moving = await harness.advance(moving, operation.Transition(event=event))
            with pytest.raises(errors.HostInUse, match="in-progress migrations"):
                await harness.store.run(lambda uow: uow.hosts.remove("host-b"))
        arrived = operation.Transition(
            step=operation.StepName.DONE,
            event=states.Event.TAKEN_IN,
            server=server.ServerChange(host="host-b", vm_state=server.VmState.RESIZED, clear_task=True),
        )
        await harness.advance(moving, arrived)
        with pytest.raises(errors.HostInUse, match="in-progress migrations"):
            await harness.store.run(lambda uow: uow.hosts.remove("host-a"))

    async def test_a_host_that_is_owed_something_is_kept_unless_it_is_dead(self, harness: harnesses.Harness) -> None:
        """Dead, it is forgotten, and what it is owed is kept for one of its name."""
        await harness.make_host("host-b")
        owned = await harness.make_owned()
        await harness.store.run(lambda uow: uow.chores.add(owned.id, "host-b", "DestroyGuest", {}))
        with pytest.raises(errors.HostInUse, match="is owed its cleaning"):
            await harness.store.run(lambda uow: uow.hosts.remove("host-b"))
        await harness.store.run(lambda uow: uow.hosts.update_service("host-b", is_forced_down=True))
        await harness.store.run(lambda uow: uow.hosts.remove("host-b"))
        assert [one.host for one in await harness.store.read(lambda uow: uow.chores.list())] == ["host-b"]
