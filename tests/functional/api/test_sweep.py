# SPDX-License-Identifier: Apache-2.0
"""The sweep: each route is asked by each role, and answers as the table of routes and the defaults of the rules say."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import shutil
import sys
from typing import Any

import pytest

from tests.functional.api import conftest
from wherry import policies
from wherry.api import microversions, routes, routing
from wherry.db import uow as wherry_uow
from wherry.model import capabilities, migration, operation, states
from wherry.model import server as server_model
from wherry.policies import base

#: Who asks: the token, or none. The servers and the group belong to p1.
ROLES: dict[str, str] = {
    "nobody": "",
    "reader": conftest.READER,
    "member": conftest.MEMBER,
    "manager": conftest.MANAGER,
    "admin": "ada:p9:admin",
    "foreign": conftest.FOREIGN_MANAGER,
}
#: Default check -> the roles that it lets pass in their own project.
PASSED_BY: dict[str, set[str]] = {
    base.ANYBODY: {"reader", "member", "manager", "admin"},
    base.PROJECT_READER_OR_ADMIN: {"reader", "member", "manager", "admin"},
    base.PROJECT_MEMBER_OR_ADMIN: {"member", "manager", "admin"},
    base.PROJECT_MANAGER_OR_ADMIN: {"manager", "admin"},
    base.ADMIN: {"admin"},
}
CHECKS = {rule.name: rule.check for rule in policies.list_rules()}
#: What some routes answer to whoever may ask.
ALWAYS = {
    "GET /os-hypervisors/{hypervisor_id}/uptime": 400,
    "GET /os-aggregates/{aggregate_id}": 404,
    # A conductor would answer, and there is none.
    "POST /servers/{server_id}/action (os-checkMigrateLive)": 503,
    # A conductor would check, and there is none: these are asked of a server that is in no state for it.
    "POST /servers/{server_id}/action (migrate)": 409,
    "POST /servers/{server_id}/action (resize)": 409,
    "POST /servers/{server_id}/action (os-getConsoleOutput)": 503,
    # There is nothing broken to be mended.
    "POST /servers/{server_id}/migrations/{migration_id}/action (resume_post_copy)": 409,
    "POST /servers/{server_id}/migrations/{migration_id}/action (give_up)": 409,
}
PAIRS = [(route, role) for route in routes.ROUTES for role in ROLES]
IDLE, MIGRATING, STOPPED, PAUSED, RESIZED, SUSPENDED = (conftest.UUID.format(number) for number in (1, 2, 3, 4, 5, 6))
#: Action -> a server that takes it; the others take an idle one.
SERVERS = {
    "os-start": STOPPED,
    "unpause": PAUSED,
    "resume": SUSPENDED,
    "migrate": PAUSED,
    "resize": PAUSED,
    "confirmResize": RESIZED,
    "revertResize": RESIZED,
}
BODIES: dict[str, Any] = {
    "os-migrateLive": {"host": None, "block_migration": "auto"},
    "os-checkMigrateLive": {"host": None, "block_migration": "auto"},
    "os-resetState": {"state": "active"},
    "resize": {"flavorRef": "7"},
    "add_server": {"server": IDLE},
    "remove_server": {"server": IDLE},
    "POST /os-server-groups": {"server_group": {"name": "new", "policy": "affinity"}},
    "os-getConsoleOutput": {},
    "reboot": {"type": "HARD"},
    "POST /servers": {"server": {"name": "new", "imageRef": conftest.IMAGE, "flavorRef": "7", "networks": "none"}},
    "POST /flavors": {"flavor": {"name": "new", "ram": 512, "vcpus": 1, "disk": 0}},
    "PUT /flavors/{flavor_id}": {"flavor": {"description": "words"}},
    "POST /flavors/{flavor_id}/os-extra_specs": {"extra_specs": {"quota:cpu": "2"}},
    "PUT /flavors/{flavor_id}/os-extra_specs/{key}": {"hw:known": "2"},
    "PUT /servers/{server_id}": {"server": {"description": "words"}},
    "PUT /servers/{server_id}/tags": {"tags": ["known"]},
    "POST /servers/{server_id}/metadata": {"metadata": {"a": "b"}},
    "PUT /servers/{server_id}/metadata": {"metadata": {"a": "b"}},
    "PUT /servers/{server_id}/metadata/{key}": {"meta": {"hw:known": "2"}},
    "PUT /os-services/{service_id} 2.52": {"host": "h3", "binary": "nova-compute"},
    "PUT /os-services/{service_id}": {"status": "disabled"},
}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A database with something for each route to be about, to be copied."""

    file: pathlib.Path
    #: Name in a path -> what stands there.
    names: dict[str, str]
    numbers: dict[str, str]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, empty_database: pathlib.Path) -> Prepared:
    directory = tmp_path_factory.mktemp("sweep")
    shutil.copy(empty_database, directory)
    return asyncio.run(_prepare(directory))


async def _prepare(directory: pathlib.Path) -> Prepared:
    cloud = await conftest.make_cloud(directory)
    able = capabilities.DriverCapabilities(live_migration=True, abort=True, force_complete_by_pause=True)
    source = await cloud.add_host("h1", capabilities=able)
    empty = await cloud.add_host("h3")
    await cloud.add_host("h4")
    await cloud.add_server(1, metadata={"hw:known": "1"}, tags=("known",))
    await cloud.add_server(2)
    await cloud.add_server(3, vm_state=server_model.VmState.STOPPED, power_state=server_model.PowerState.SHUTDOWN)
    await cloud.add_server(4, vm_state=server_model.VmState.PAUSED, power_state=server_model.PowerState.PAUSED)
    await cloud.add_server(6, vm_state=server_model.VmState.SUSPENDED, power_state=server_model.PowerState.SHUTDOWN)
    asked = await cloud.migrate(MIGRATING)
    found, record = await cloud.open_operation(MIGRATING)
    for event in (states.Event.CHECKS_PASSED, states.Event.ADMITTED, states.Event.TRANSFER_STARTED):
        await cloud.advance(found.id, event=event)
    await _add_resized(cloud)
    body = {"server_group": {"name": "group", "policy": "anti-affinity"}}
    made = await cloud.request("POST", "/v2.1/os-server-groups", token=conftest.MEMBER, json=body)
    flavor = {"flavor": {"name": "seven", "id": "7", "ram": 512, "vcpus": 1, "disk": 0}}
    await cloud.request("POST", "/v2.1/flavors", json=flavor)
    await cloud.request("POST", "/v2.1/flavors/7/os-extra_specs", json={"extra_specs": {"hw:known": "1"}})
    names = {
        "server_id": IDLE,
        "migration_id": str(record.id),
        "request_id": asked.headers["x-openstack-request-id"],
        "group_id": made.json()["server_group"]["id"],
        "service_id": empty.uuid,
        "hypervisor_id": source.uuid,
        "flavor_id": "7",
        "image_id": conftest.IMAGE,
        "key": "hw:known",
        "tag": "known",
        "aggregate_id": "1",
    }
    await cloud.close()
    return Prepared(
        file=directory / "wherry.sqlite",
        names=names,
        # What older versions name otherwise.
        numbers={"service_id": "enable", "hypervisor_id": str(source.id)},
    )


async def _add_resized(cloud: conftest.Cloud) -> None:
    """Add a server that waits to be confirmed or reverted."""
    made = await cloud.add_server(5)

    async def unit(uow: wherry_uow.UnitOfWork) -> operation.Operation:
        request = migration.ColdMigrationRequest(host="h4")
        accepted, _ = await uow.operations.accept(made, request, request_id="req-5", user_id="mel", project_id=conftest.PROJECT)
        return accepted

    accepted = await cloud.store.run(unit)
    for event in (states.Event.MOVE_STARTED, states.Event.MOVED):
        await cloud.advance(accepted.id, event=event)
    change = server_model.ServerChange(vm_state=server_model.VmState.RESIZED, clear_task=True, host="h4")
    await cloud.advance(accepted.id, event=states.Event.TAKEN_IN, step=operation.StepName.DONE, server=change, dest_compute="h4")


def _path(route: routing.Route, prepared: Prepared) -> str:
    names = dict(prepared.names)
    if route.last and microversions.parse(route.last) < (2, 53):
        names |= prepared.numbers
        names["hypervisor_id"] = "h1"
    if "migration_id" in route.path or "request_id" in route.path:
        names["server_id"] = MIGRATING
    names["server_id"] = SERVERS.get(route.action, names["server_id"])
    return "/v2.1" + route.path.format_map(names)


def _body(route: routing.Route) -> Any:
    if route.body is None:
        return None
    if route.action:
        return {route.action: BODIES.get(route.action)}
    return BODIES[f"{route.name} {route.last}".strip()]


def _expected(route: routing.Route, role: str) -> int:
    if role == "nobody":
        return 401
    if role == "foreign" and route.concern is not routing.Concern.CALLER:
        return 404
    # In a project of their own, foreigners are what they are.
    own_role = "manager" if role == "foreign" else role
    if own_role not in PASSED_BY[CHECKS[route.policy]]:
        return 403
    return ALWAYS.get(route.name, route.status)


@pytest.mark.parametrize(("route", "role"), PAIRS, ids=[f"{route.name} {route.last} {role}" for route, role in PAIRS])
async def test_each_route_answers_each_role_as_policy_says(
    tmp_path: pathlib.Path, prepared: Prepared, route: routing.Route, role: str
) -> None:
    shutil.copy(prepared.file, tmp_path)
    cloud = await conftest.make_cloud(tmp_path)
    await cloud.require_tokens()
    if "image_id" in route.path or route.name == "POST /servers":
        conftest.add_image(cloud, tmp_path / "image.raw")
    token = ROLES[role]
    # Who may not see all projects must ask for their own there.
    query = f"?project_id={token.split(':')[1]}" if route.path == "/os-migrations" and token else ""
    try:
        answer = await cloud.request(
            route.method, _path(route, prepared) + query, route.last or str(microversions.MAXIMUM), token=token, json=_body(route)
        )
    finally:
        await cloud.close()
    assert answer.status_code == _expected(route, role), answer.text
    if answer.status_code == 403:
        assert f"Policy doesn't allow {route.policy} to be performed." in answer.text


def test_the_sweep_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(PAIRS) == len(routes.ROUTES) * len(ROLES)
    codes = [_expected(route, role) for route, role in PAIRS]
    assert {401, 403, 404, 200, 202, 204} <= set(codes)
    counts = ", ".join(f"{codes.count(code)} x {code}" for code in sorted(set(codes)))
    with capsys.disabled():
        sys.stdout.write(f"\nsweep: {len(PAIRS)} pairs of route and role: {counts}\n")
