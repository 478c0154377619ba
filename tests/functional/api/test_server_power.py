# SPDX-License-Identifier: Apache-2.0
"""pause, unpause, os-start and os-stop over HTTP: what is recorded, and who is told no."""

from __future__ import annotations

import uuid as uuids
from typing import Any

import httpx
import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import operation, power
from wherry.model import server as server_model

_V = server_model.VmState
#: Key of the body -> action in Nova's words, states in which it may be asked for, task_state.
_ACTIONS = {
    "pause": ("pause", {_V.ACTIVE}, "pausing"),
    "unpause": ("unpause", {_V.PAUSED}, "unpausing"),
    "os-start": ("start", {_V.STOPPED}, "powering-on"),
    "os-stop": ("stop", {_V.ACTIVE, _V.ERROR}, "powering-off"),
}
_RULES = {
    "pause": "os_compute_api:os-pause-server:pause",
    "unpause": "os_compute_api:os-pause-server:unpause",
    "os-start": "os_compute_api:servers:start",
    "os-stop": "os_compute_api:servers:stop",
}
_CASES = [(key, vm_state) for key in _ACTIONS for vm_state in (_V.ACTIVE, _V.PAUSED, _V.STOPPED, _V.SUSPENDED, _V.ERROR)]


async def _act(
    cloud: conftest.Cloud, uuid: str, action: str, value: Any = None, version: str = "2.1", *, token: str = conftest.MEMBER
) -> httpx.Response:
    return await cloud.request("POST", f"/v2.1/servers/{uuid}/action", version, token=token, json={action: value})


async def _holder(cloud: conftest.Cloud, uuid: str) -> operation.Operation | None:
    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation | None:
        return await uow.operations.open_of_instance(uuid)

    return await cloud.store.read(unit)


@pytest.mark.parametrize(("action", "vm_state"), _CASES)
async def test_what_may_be_asked_when(cloud: conftest.Cloud, action: str, vm_state: server_model.VmState) -> None:
    """A 202 records everything in one; a 409 names the state in Nova's words and records nothing."""
    name, allowed, task_state = _ACTIONS[action]
    server = await cloud.add_server(1)
    await cloud.update(server.uuid, vm_state=vm_state)
    answer = await _act(cloud, server.uuid, action)
    holder = await _holder(cloud, server.uuid)
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]
    if vm_state not in allowed:
        assert answer.status_code == 409
        wanted = f"Cannot '{name}' instance {server.uuid} while it is in vm_state {vm_state.value}"
        states = " or ".join(sorted(state.value for state in allowed))
        assert answer.json() == {"conflictingRequest": {"code": 409, "message": f"{wanted}. It must be {states}."}}
        assert (holder, shown["OS-EXT-STS:task_state"], cloud.transport.sent) == (None, None, [])
        return
    assert (answer.status_code, answer.content) == (202, b"")
    assert holder is not None
    assert (holder.kind, holder.request) == (operation.OperationKind.POWER, power.PowerRequest(action=power.PowerAction(name)))
    assert (holder.plan.source, holder.request_id) == ("h1", answer.headers["x-openstack-request-id"])
    assert shown["OS-EXT-STS:task_state"] == task_state
    told = (await cloud.get(f"/v2.1/servers/{server.uuid}/os-instance-actions/{holder.request_id}")).json()["instanceAction"]
    assert (told["action"], told["user_id"], told["message"]) == (name, "mel", None)
    assert (await cloud.get("/v2.1/os-migrations")).json()["migrations"] == []
    assert cloud.transport.sent == ["wherry.conductor.api.api-1.OperationRecorded"]


@pytest.mark.parametrize("action", _ACTIONS)
async def test_who_may_not(cloud: conftest.Cloud, action: str) -> None:
    """404 for what is not theirs or not there, 403 by the rule, 409 for a lock that is no administrator's to mind."""
    name, allowed, _ = _ACTIONS[action]
    server = await cloud.add_server(1)
    await cloud.update(server.uuid, vm_state=next(iter(allowed)), locked_by="admin")
    assert (await _act(cloud, str(uuids.uuid4()), action)).status_code == 404
    assert (await _act(cloud, server.uuid, action, token="eve:other:member")).status_code == 404
    refused = await _act(cloud, server.uuid, action, token=conftest.READER)
    assert (refused.status_code, refused.json()["forbidden"]["message"]) == (
        403,
        f"Policy doesn't allow {_RULES[action]} to be performed.",
    )
    refused = await _act(cloud, server.uuid, action)
    assert refused.status_code == 409
    assert refused.json()["conflictingRequest"]["message"].startswith(f"Instance {server.uuid} is locked. ")
    assert (await _act(cloud, server.uuid, action, {"anything": 1}, token=conftest.ADMIN)).status_code == 202
    again = await _act(cloud, server.uuid, action, token=conftest.ADMIN)
    wanted = f"Cannot '{name}' instance {server.uuid} while it is in task_state {_ACTIONS[action][2]}"
    assert again.status_code == 409
    assert again.json()["conflictingRequest"]["message"].startswith(f"{wanted}. Send it again when that has ended")


async def test_a_reset_wants_the_action_given_up(cloud: conftest.Cloud) -> None:
    """Until it is, the server stays the operation's, and a 409 says whose."""
    server = await cloud.add_server(1)
    assert (await _act(cloud, server.uuid, "os-stop")).status_code == 202
    assert (await _act(cloud, server.uuid, "os-resetState", {"state": "active"}, token=conftest.ADMIN)).status_code == 202
    holder = await _holder(cloud, server.uuid)
    assert holder is not None

    async def unit(uow: wherry_uow.UnitOfWork) -> list[operation.Intent]:
        return await uow.operations.pending_intents(holder.id)

    assert [intent.kind for intent in await cloud.store.read(unit)] == [operation.IntentKind.ABORT]
    refused = await _act(cloud, server.uuid, "pause")
    assert (refused.status_code, "while it is in task_state powering-off" in refused.text) == (409, True)
