# SPDX-License-Identifier: Apache-2.0
"""Making servers: what a body asks for is understood or refused, then recorded. A conductor finds the host and has the guest built."""

from __future__ import annotations

import dataclasses
import re
import secrets
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding, recording, server_metadata, server_update, server_wishes
from wherry.api.schemas import parameter_types
from wherry.api.views import server_create as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import servers as server_rows
from wherry.model import build, image, operation
from wherry.model import flavor as flavor_model
from wherry.model import server as server_model
from wherry.rpc import messages

_PASSWORD_BYTES = 9
_GIB = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Wish:
    """What one body asks for, understood."""

    body: dict[str, Any]
    hints: dict[str, Any]
    image: image.Image
    place: server_wishes.Place
    least: int
    most: int
    reservation_id: str


async def create_server(call: api_call.Call) -> view.Made:
    """Record servers that are to be made, one as a rule; they are in status BUILD when the answer leaves."""
    content = cast("dict[str, Any]", call.body)
    asked = content["server"]
    hints = content.get("OS-SCH-HNT:scheduler_hints") or content.get("os:scheduler_hints") or {}
    server_wishes.refuse_unknown(asked)
    server_metadata.require_room(call, asked.get("metadata", {}))
    least, most = server_wishes.counts_of(asked)
    wish = _Wish(
        body=asked,
        hints=hints,
        image=await server_wishes.image_of(call, asked),
        place=server_wishes.place_of(call, asked),
        least=least,
        most=most,
        reservation_id=f"r-{secrets.token_hex(4)}",
    )

    async def unit(uow: wherry_uow.UnitOfWork) -> tuple[list[server_model.Server], list[operation.Operation]]:
        flavor = await _flavor_of(uow, call, wish)
        await server_wishes.require_place(uow, wish.place)
        made, accepted = [], []
        for index in range(wish.most):
            server = await uow.servers.insert(_new_server(uow.new_uuid(), call, wish, flavor, index))
            await _join_group(uow, call, wish, server)
            begun, _ = await uow.operations.accept(
                server,
                _request_of(wish),
                request_id=call.caller.request_id,
                user_id=call.caller.user_id,
                project_id=call.caller.project_id,
            )
            made.append(server)
            accepted.append(begun)
        return made, accepted

    made, accepted = await call.parts.store.run(unit)
    for begun in accepted:
        await recording.nudge(call, messages.OperationRecorded(operation_id=begun.id))
    if parameter_types.as_bool(asked.get("return_reservation_id", False)):
        return view.Made(server=None, reservation_id=wish.reservation_id, password="")
    password = asked.get("adminPass") or secrets.token_urlsafe(_PASSWORD_BYTES)
    return view.Made(server=made[0], reservation_id=wish.reservation_id, password=password)


async def _flavor_of(uow: wherry_uow.UnitOfWork, call: api_call.Call, wish: _Wish) -> flavor_model.Flavor:
    """Find the flavor, and make sure that the image fits into it, in Nova's words."""
    named = str(wish.body["flavorRef"])
    try:
        flavor = await finding.flavor_of(uow, call, named)
    except errors.FlavorNotFound as error:
        raise faults.bad_request(f"Flavor {named} could not be found.") from error
    if flavor.is_disabled:
        raise faults.bad_request(f"Flavor {named} could not be found.")
    if flavor.memory_mib < wish.image.min_ram_mib:
        raise faults.bad_request("Flavor's memory is too small for requested image.")
    needed_bytes = max(wish.image.min_disk_gib * _GIB, wish.image.virtual_bytes or wish.image.size_bytes)
    if flavor.root_gib and flavor.root_gib * _GIB < needed_bytes:
        raise faults.bad_request(
            f"Flavor's disk is too small for requested image. Flavor disk is {flavor.root_gib * _GIB} bytes, "
            f"image needs {needed_bytes} bytes."
        )
    return flavor


def _new_server(uuid: str, call: api_call.Call, wish: _Wish, flavor: flavor_model.Flavor, index: int) -> server_rows.NewServer:
    asked = wish.body
    suffix = "" if wish.most == 1 else f"-{index + 1}"
    name = asked["name"] + suffix
    birth = server_model.Birth(
        image_name=wish.image.name,
        image_properties=dict(wish.image.properties),
        launch_index=index,
        zone=wish.place.zone,
        hints=wish.hints,
        disk_config=asked.get("OS-DCF:diskConfig", "MANUAL"),
        access_ip_v4=server_update.canonical(asked.get("accessIPv4", "")),
        access_ip_v6=server_update.canonical(asked.get("accessIPv6", "")),
    )
    return server_rows.NewServer(
        uuid=uuid,
        name=name,
        project_id=call.caller.project_id,
        user_id=call.caller.user_id,
        host=None,
        node=None,
        vm_state=server_model.VmState.BUILDING,
        task_state=server_model.TaskState.SCHEDULING,
        power_state=server_model.PowerState.NOSTATE,
        memory_mib=flavor.memory_mib,
        vcpus=flavor.vcpus,
        root_gib=flavor.root_gib,
        flavor=flavor,
        metadata=dict(asked.get("metadata", {})),
        # Up to 2.18 the name is the description, as in Nova.
        description=asked.get("description") if call.version >= (2, 19) else name,
        hostname=asked["hostname"] + suffix if "hostname" in asked else host_name_of(name),
        tags=tuple(dict.fromkeys(asked.get("tags", ()))),
        reservation_id=wish.reservation_id,
        image_ref=wish.image.id,
        birth=birth,
    )


def host_name_of(name: str) -> str:
    """Make a host name of a server's name, as Nova does."""
    kept = re.sub(r"[^a-z0-9-]", "", re.sub(r"[ _.]", "-", name.lower())).strip("-")[:63]
    return kept or "server"


def _request_of(wish: _Wish) -> build.BuildRequest:
    return build.BuildRequest(
        image=wish.image,
        zone=wish.place.zone,
        host=wish.place.host,
        node=wish.place.node,
        is_forced=wish.place.is_forced,
        has_network=wish.body.get("networks") != "none",
    )


async def _join_group(uow: wherry_uow.UnitOfWork, call: api_call.Call, wish: _Wish, server: server_model.Server) -> None:
    named = wish.hints.get("group")
    if named is None:
        return
    problem = faults.bad_request(f"Instance group {named} could not be found.")
    if not isinstance(named, str) or not finding.is_uuid(named):
        raise problem
    try:
        group = await uow.server_groups.get(named.lower())
    except errors.ServerGroupNotFound:
        raise problem from None
    if group.project_id != call.caller.project_id and not call.caller.is_admin:
        raise problem
    await uow.server_groups.add(group, server.uuid)
