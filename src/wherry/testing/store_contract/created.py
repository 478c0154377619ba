# SPDX-License-Identifier: Apache-2.0
"""What is promised of servers that are made and deleted: their rows, how they are found, how their operations begin and end."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from wherry import errors
from wherry.db import deletion
from wherry.db import uow as uows
from wherry.db.repositories import servers as server_records
from wherry.model import build, image, instance_actions, operation, server
from wherry.testing.store_contract import harness as harnesses

_ASKED = {"request_id": "req-new", "user_id": "u1", "project_id": "p1"}
_IMAGE = image.Image(
    id="image-1",
    name="tiny",
    size_bytes=1,
    checksum="c",
    disk_format="raw",
    properties={"os": "none"},
    created_at=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
)


def _new(harness: harnesses.Harness, **fields: Any) -> server_records.NewServer:
    known: dict[str, Any] = {
        "host": None,
        "node": None,
        "vm_state": server.VmState.BUILDING,
        "task_state": server.TaskState.SCHEDULING,
        "image_ref": "image-1",
        "birth": server.Birth(image_name="tiny", image_properties={"os": "none"}, zone="z1", hints={"group": "g"}),
    }
    return harness.new_server(**(known | fields))


async def _make(harness: harnesses.Harness, **fields: Any) -> tuple[server.Server, operation.Operation]:
    new = _new(harness, **fields)

    async def unit(uow: uows.UnitOfWork) -> tuple[server.Server, operation.Operation]:
        made = await uow.servers.insert(new)
        await uow.conductors.renew("conductor-1", "control", 3600)
        accepted, moving = await uow.operations.accept(made, build.BuildRequest(image=_IMAGE, zone="z1"), **_ASKED)
        assert moving is None
        claimed = await uow.operations.claim(accepted.id, "conductor-1")
        assert claimed is not None
        return made, claimed

    return await harness.store.run(unit)


class CreatedServerContract:
    """Rows and operations."""

    async def test_what_the_request_said_is_read_as_it_was_written(self, harness: harnesses.Harness) -> None:
        fields = {"description": "words", "hostname": "h", "tags": ("b", "a"), "reservation_id": "r-1"}
        made, begun = await _make(harness, **fields)
        read = await harness.server(made.uuid)
        assert {name: getattr(read, name) for name in fields} == fields
        assert read.birth == server.Birth(image_name="tiny", image_properties={"os": "none"}, zone="z1", hints={"group": "g"})
        assert read.instance_name == f"instance-{read.id:08x}"
        assert begun.request == build.BuildRequest(image=_IMAGE, zone="z1")
        assert (begun.kind, begun.step, begun.plan.source) == (operation.OperationKind.BUILD, operation.StepName.BEGIN, "")
        found = await harness.make_server()
        assert ((await harness.server(found.uuid)).tags, found.instance_name) == ((), found.name)

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"tags": ["a"]}, "one two"),
            ({"tags": ["a", "b"]}, "one"),
            ({"tags_any": ["b", "c"]}, "one three"),
            ({"not_tags": ["a", "b"]}, "two three found"),
            ({"not_tags_any": ["a", "c"]}, "found"),
            ({"tags": ["%"]}, ""),
            ({"equal": {"image_ref": "image-1"}}, "one two three"),
            ({"equal": {"hostname": "one-h"}}, "one"),
            ({"equal": {"hostname": "found"}}, "found"),
            ({"equal": {"reservation_id": "r-2"}}, "two"),
            ({"equal": {"description": "words"}}, "three"),
        ],
    )
    async def test_a_filter_shows_what_was_made_so(self, harness: harnesses.Harness, query: dict[str, Any], names: str) -> None:
        for new in (
            _new(harness, name="one", tags=("a", "b"), hostname="one-h"),
            _new(harness, name="two", tags=("a",), reservation_id="r-2", hostname="two-h"),
            _new(harness, name="three", tags=("c",), description="words", hostname="three-h"),
            harness.new_server(name="found"),
        ):
            await harness.store.run(lambda uow, new=new: uow.servers.insert(new))  # type: ignore[misc]  # bound at once
        listed = await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery(**query)))
        assert sorted(one.name for one in listed) == sorted(names.split())

    async def test_transitions_place_a_server_give_it_up_and_launch_it(self, harness: harnesses.Harness) -> None:
        made, begun = await _make(harness)
        place = server.ServerChange(host="host-a", node="a.example", task_state=server.TaskState.SPAWNING)
        begun = await harness.advance(begun, operation.Transition(step=operation.StepName.BUILD, server=place))
        assert ((await harness.server(made.uuid)).host, (await harness.server(made.uuid)).node) == ("host-a", "a.example")
        fault = server.Fault(message="why", created_at=harness.clock.now())
        begun = await harness.advance(begun, operation.Transition(server=server.ServerChange(clear_host=True, fault=fault)))
        given_up = await harness.server(made.uuid)
        assert (given_up.host, given_up.node, given_up.fault) == (None, None, fault)
        change = server.ServerChange(host="host-b", vm_state=server.VmState.ACTIVE, clear_task=True, clear_fault=True, is_launched=True)
        await harness.advance(begun, operation.Transition(step=operation.StepName.DONE, server=change))
        launched = await harness.server(made.uuid)
        assert (launched.host, launched.task_state, launched.fault) == ("host-b", None, None)
        assert launched.launched_at == harness.clock.now()

    async def test_a_server_without_a_host_is_deleted_once(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server(host=None, node=None, vm_state=server.VmState.ERROR)

        async def unit(uow: uows.UnitOfWork) -> operation.Operation:
            await uow.actions.record(instance_uuid=made.uuid, action=instance_actions.ActionName.DELETE, **_ASKED)
            await uow.conductors.renew("conductor-1", "control", 3600)
            begun = await deletion.begin(uow, made, **_ASKED)
            claimed = await uow.operations.claim(begun.id, "conductor-1")
            assert claimed is not None
            return claimed

        begun = await harness.store.run(unit)
        assert (await harness.server(made.uuid)).task_state is server.TaskState.DELETING
        with pytest.raises(errors.StaleWrite):
            await harness.store.run(lambda uow: deletion.begin(uow, made, **_ASKED))
        change = server.ServerChange(vm_state=server.VmState.DELETED, clear_task=True, is_deleted=True, reason=server.DELETED_ON_REQUEST)
        await harness.advance(begun, operation.Transition(step=operation.StepName.DONE, server=change))
        gone = await harness.server(made.uuid)
        assert (gone.vm_state, gone.deleted_at, gone.task_state) == (server.VmState.DELETED, harness.clock.now(), None)
        with pytest.raises(errors.ServerNotFound):
            await harness.store.read(lambda uow: uow.servers.get(made.uuid))

    async def test_a_deletion_that_was_asked_for_meanwhile_waits_as_an_intent(self, harness: harnesses.Harness) -> None:
        _, begun = await _make(harness)
        kind = operation.IntentKind.DELETE
        await harness.store.run(lambda uow: uow.operations.record_intent(begun.id, kind, request_id="req-delete"))
        pending = await harness.store.read(lambda uow: uow.operations.pending_intents(begun.id))
        assert [(intent.kind, intent.request_id) for intent in pending] == [(kind, "req-delete")]
