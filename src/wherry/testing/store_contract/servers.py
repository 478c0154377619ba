# SPDX-License-Identifier: Apache-2.0
"""What is promised of servers: round trips, guarded writes, lists, pages."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from wherry import errors
from wherry.db import paging
from wherry.db.repositories import servers as records
from wherry.model import guest, server
from wherry.testing.store_contract import harness as harnesses

_MIGRATING = server.TaskState.MIGRATING
_DISK = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source="/var/lib/a.qcow2", format="qcow2", capacity_bytes=1 << 30)


class ServerContract:
    """One server at a time."""

    async def test_a_server_is_read_as_it_was_written(self, harness: harnesses.Harness) -> None:
        new = harness.new_server(disks=(_DISK,), metadata={"tier": "gold", "ü": "…"}, launched_at=harness.clock.now(), root_gib=7)
        written = await harness.store.run(lambda uow: uow.servers.insert(new))
        read = await harness.server(new.uuid)
        assert read == written
        assert {name: getattr(read, name) for name in dataclasses.asdict(new) if name != "disks"} == {
            name: value for name, value in dataclasses.asdict(new).items() if name != "disks"
        }
        assert read.disks == (_DISK,)
        assert (read.generation, read.created_at, read.updated_at) == (0, harness.clock.now(), None)

    async def test_times_come_back_aware_and_in_utc_whatever_zone_they_were_given_in(self, harness: harnesses.Harness) -> None:
        zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        launched_at = datetime.datetime(2030, 1, 1, 3, 0, 0, 123456, tzinfo=zone)
        made = await harness.make_server(launched_at=launched_at)
        read = (await harness.server(made.uuid)).launched_at
        assert read == launched_at
        assert read is not None
        assert read.utcoffset() == datetime.timedelta(0)

    async def test_an_unknown_server_is_not_found(self, harness: harnesses.Harness) -> None:
        with pytest.raises(errors.ServerNotFound):
            await harness.store.read(lambda uow: uow.servers.get("nobody"))

    async def test_a_deleted_server_is_found_only_by_who_asks_for_deleted_ones(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        await harness.store.run(lambda uow: uow.servers.update(made, deleted_at=uow.now, vm_state=server.VmState.DELETED))
        with pytest.raises(errors.ServerNotFound):
            await harness.store.read(lambda uow: uow.servers.get(made.uuid))
        assert (await harness.store.read(lambda uow: uow.servers.get(made.uuid, include_deleted=True))).deleted_at is not None

    async def test_a_uuid_is_recorded_once(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        with pytest.raises(errors.StaleWrite):
            await harness.make_server(uuid=made.uuid, name="another")
        assert (await harness.server(made.uuid)).name == made.name

    async def test_many_servers_are_recorded_at_once_or_not_at_all(self, harness: harnesses.Harness) -> None:
        many = [harness.new_server(disks=(_DISK,)) for _ in range(2000)]
        _, statements = await harness.statements_of(lambda uow: uow.servers.insert_all(many))
        assert statements == 1
        known = await harness.store.read(lambda uow: uow.servers.list(records.ServerQuery()))
        assert {one.uuid for one in known} == {one.uuid for one in many}
        assert {one.disks for one in known} == {(_DISK,)}
        with pytest.raises(errors.StaleWrite, match=many[7].uuid):
            await harness.store.run(lambda uow: uow.servers.insert_all([harness.new_server(), many[7]]))
        assert len(await harness.store.read(lambda uow: uow.servers.list(records.ServerQuery()))) == 2000
        await harness.store.run(lambda uow: uow.servers.insert_all([]))

    async def test_a_change_of_what_somebody_else_changed_first_is_refused_and_stores_nothing(self, harness: harnesses.Harness) -> None:
        read = await harness.make_server()
        harness.clock.advance(1)
        changed = await harness.store.run(lambda uow: uow.servers.update(read, name="first"))
        assert (changed.name, changed.generation, changed.updated_at) == ("first", 1, harness.clock.now())
        with pytest.raises(errors.StaleWrite):
            await harness.store.run(lambda uow: uow.servers.update(read, name="second"))
        assert await harness.server(read.uuid) == changed

    async def test_a_field_can_be_emptied(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server(reason="two_hosts")
        await harness.store.run(lambda uow: uow.servers.update(made, reason=None, host=None))
        read = await harness.server(made.uuid)
        assert (read.reason, read.host) == (None, None)

    async def test_what_belongs_to_an_operation_is_not_changed_beside_it(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        read = await harness.server(owned.instance_uuid)
        for changes in ({"host": "host-z"}, {"task_state": None}, {"vm_state": server.VmState.ERROR}, {"deleted_at": harness.clock.now()}):
            with pytest.raises(errors.StaleWrite):
                await harness.store.run(_updating(read, changes))
        assert await harness.server(read.uuid) == read
        locked = await harness.store.run(lambda uow: uow.servers.update(read, locked_by="admin"))
        forced = await harness.store.run(lambda uow: uow.servers.update(locked, task_state=None, in_operation=True))
        assert (forced.locked_by, forced.task_state) == ("admin", None)

    async def test_servers_of_several_hosts_come_by_host_and_without_deleted_ones(self, harness: harnesses.Harness) -> None:
        on_a = [await harness.make_server(host="host-a") for _ in range(2)]
        on_b = await harness.make_server(host="host-b")
        gone = await harness.make_server(host="host-b")
        await harness.store.run(lambda uow: uow.servers.update(gone, deleted_at=uow.now))
        found, statements = await harness.statements_of(lambda uow: uow.servers.on_hosts(["host-a", "host-b", "host-c"]))
        assert found == {"host-a": on_a, "host-b": [on_b]}
        assert statements == 1
        assert await harness.store.read(lambda uow: uow.servers.on_host("host-c")) == []


def _updating(read: server.Server, changes: dict[str, Any]) -> Any:
    return lambda uow: uow.servers.update(read, **changes)


class ServerListContract:
    """Filters, order and pages."""

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"host": "host-b"}, "b"),
            ({"name": "ph"}, "alpha"),
            ({"name": "^.lph"}, "alpha"),
            ({"name": "%"}, "p%rcent"),
            ({"name_exactly": "b"}, "b"),
            ({"project_id": "other"}, "alpha"),
            ({"user_id": "someone"}, "b"),
            ({"vm_states": [server.VmState.PAUSED]}, "p%rcent"),
            ({"statuses": [(server.VmState.ACTIVE, _MIGRATING)]}, "b"),
            ({"statuses": [(server.VmState.ACTIVE, None), (server.VmState.PAUSED, None)]}, "alpha p%rcent"),
            ({"statuses": []}, ""),
            ({"deleted": True}, "gone"),
            ({"deleted": None}, "alpha b p%rcent gone"),
            ({"is_locked": True}, "p%rcent"),
            ({"flavor": "c2-m1024-d9"}, "alpha"),
            ({"flavor": "c2-m512-d3"}, "b"),
            ({"flavor": "c2-m512-d0"}, "p%rcent"),
            ({"uuids": []}, ""),
            ({"host": "host-b", "name": "alpha"}, ""),
        ],
    )
    async def test_a_filter_shows_what_fits(self, harness: harnesses.Harness, query: dict[str, Any], names: str) -> None:
        await harness.make_server(name="alpha", project_id="other", memory_mib=1024, root_gib=9)
        in_motion = await harness.make_server(name="b", host="host-b", user_id="someone", root_gib=3)
        await harness.accept(in_motion)
        locked = await harness.make_server(name="p%rcent", vm_state=server.VmState.PAUSED)
        gone = await harness.make_server(name="gone")
        await harness.store.run(lambda uow: uow.servers.update(locked, locked_by="owner"))
        await harness.store.run(lambda uow: uow.servers.update(gone, deleted_at=uow.now, vm_state=server.VmState.DELETED))
        found = await harness.store.read(lambda uow: uow.servers.list(records.ServerQuery(**query)))
        assert sorted(one.name for one in found) == sorted(names.split())

    async def test_changes_since_and_before_count_creation_and_change_and_their_own_moment(self, harness: harnesses.Harness) -> None:
        changed = await harness.make_server(name="changed")
        harness.clock.advance(1)
        first = harness.clock.now()
        await harness.make_server(name="made")
        second = harness.clock.advance(1)
        await harness.store.run(lambda uow: uow.servers.update(changed, metadata={"a": "b"}))

        async def names(**query: Any) -> set[str]:
            found = await harness.store.read(lambda uow: uow.servers.list(records.ServerQuery(**query)))
            return {one.name for one in found}

        assert await names(changes_since=first) == {"changed", "made"}
        assert await names(changes_since=second) == {"changed"}
        assert await names(changes_before=first) == {"made"}
        assert await names(changes_since=first, changes_before=first) == {"made"}

    async def test_newest_come_first_and_of_one_moment_the_last_made(self, harness: harnesses.Harness) -> None:
        made = [await harness.make_server() for _ in range(3)]
        harness.clock.advance(1)
        made.append(await harness.make_server())
        found = await harness.store.read(lambda uow: uow.servers.list(records.ServerQuery()))
        assert [one.id for one in found] == [made[3].id, made[2].id, made[1].id, made[0].id]

    @pytest.mark.parametrize("is_descending", [True, False])
    @pytest.mark.parametrize("key", ["created_at", "host", "name", "memory_mib", "updated_at", "task_state", "uuid"])
    async def test_pages_join_to_the_whole_list_with_equal_and_missing_values(
        self, harness: harnesses.Harness, key: str, is_descending: bool
    ) -> None:
        for number in range(9):
            host = (None, "host-a", "host-b")[number % 3]
            made = await harness.make_server(host=host, name=f"n{number // 4}", memory_mib=number // 5)
            if number % 4 == 0:
                await harness.store.run(_updating(made, {"metadata": {"a": "b"}}))
            harness.clock.advance(number % 2)
        sort = [paging.SortKey(name=key, is_descending=is_descending)]
        whole = await harness.store.read(lambda uow: uow.servers.list(records.ServerQuery(sort=sort)))
        assert len(whole) == 9
        values = [getattr(one, key) for one in whole]
        present = [value for value in values if value is not None]
        assert present == sorted(present, reverse=is_descending)
        pages: list[server.Server] = []
        while len(pages) < 9:
            marker = pages[-1].uuid if pages else None
            page = await harness.store.read(_listing(records.ServerQuery(sort=sort, limit=2, marker=marker)))
            assert page, "a page in the middle is empty"
            pages += page
        assert pages == whole

    async def test_an_unknown_marker_is_refused(self, harness: harnesses.Harness) -> None:
        with pytest.raises(errors.MarkerNotFound):
            await harness.store.read(_listing(records.ServerQuery(marker="nobody")))

    async def test_an_unknown_sort_key_is_refused_naming_the_known_ones(self, harness: harnesses.Harness) -> None:
        with pytest.raises(errors.SortKeyInvalid, match="generation") as refused:
            await harness.store.read(_listing(records.ServerQuery(sort=[paging.SortKey(name="generation")])))
        assert "created_at" in refused.value.remedy

    @pytest.mark.parametrize("pattern", ["a(", "(a+)+$", "(?i)a", ".*.*.*a", "(a)\\1", "[z-a]", "*", "a{256}"])
    async def test_a_name_that_is_no_pattern_or_a_dear_one_is_refused(self, harness: harnesses.Harness, pattern: str) -> None:
        with pytest.raises(errors.NamePatternInvalid):
            await harness.store.read(_listing(records.ServerQuery(name=pattern)))

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("web", "web-1 web-22"),
            ("Web", "Web.3"),
            ("^web-[0-9]+$", "web-1 web-22"),
            (r"Web\.", "Web.3"),
            (".*2.*", "web-22"),
            ("(3|22)$", "Web.3 web-22"),
            ("_", ""),
        ],
    )
    async def test_a_name_is_matched_the_same_everywhere(self, harness: harnesses.Harness, pattern: str, names: str) -> None:
        for name in ("web-1", "web-22", "Web.3"):
            await harness.make_server(name=name)
        found = await harness.store.read(_listing(records.ServerQuery(name=pattern)))
        assert sorted(one.name for one in found) == names.split()


def _listing(query: records.ServerQuery) -> Any:
    return lambda uow: uow.servers.list(query)
