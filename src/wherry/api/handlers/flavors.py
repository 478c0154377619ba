# SPDX-License-Identifier: Apache-2.0
"""Flavors: lists, show, make, describe, delete. Beside those that were made there is one for each size of a guest that was found."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import flavors as view
from wherry.db import uow as wherry_uow
from wherry.model import flavor as model
from wherry.policies import flavors as policies

#: Nova's name of a column -> what it is here. `id` and the times are the order of making there; here ids tell flavors apart.
_SORTED_BY: Mapping[str, Callable[[model.Flavor], Any]] = {
    "description": lambda flavor: flavor.description or "",
    "disabled": lambda flavor: flavor.is_disabled,
    "ephemeral_gb": lambda flavor: flavor.ephemeral_gib,
    "is_public": lambda flavor: flavor.is_public,
    "memory_mb": lambda flavor: flavor.memory_mib,
    "name": lambda flavor: flavor.name,
    "root_gb": lambda flavor: flavor.root_gib,
    "rxtx_factor": lambda flavor: flavor.rxtx_factor,
    "swap": lambda flavor: flavor.swap_mib,
    "vcpus": lambda flavor: flavor.vcpus,
}
#: Of a number in a filter; Python itself reads no more than some thousand.
_MOST_DIGITS = 100
#: Every word that Nova reads here, which are more than it takes in bodies.
_IS_PUBLIC: Mapping[str, bool | None] = {
    **dict.fromkeys(("1", "t", "true", "on", "y", "yes"), True),
    **dict.fromkeys(("0", "f", "false", "off", "n", "no"), False),
    "none": None,
}


async def list_flavors(call: api_call.Call) -> view.FlavorPage:
    """Give one page: what was made, and the sizes of guests that were found, in the caller's project or for administrators in all."""
    query = call.query
    least_ram, least_disk = _least(call, "minRam"), _least(call, "minDisk")
    limit, marker = finding.limit_of(call), query.one("marker")

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.Flavor]:
        made = {flavor.id: flavor for flavor in await uow.flavors.list()}
        sizes = await uow.servers.sizes(None if call.caller.is_admin else call.caller.project_id)
        told = (model.of_size(vcpus=size.vcpus, memory_mib=size.memory_mib, root_gib=size.root_gib) for size in sizes)
        return [*made.values(), *(flavor for flavor in told if flavor.id not in made)]

    flavors = await call.parts.store.read(unit)
    wanted = _wanted_public(call)
    kept = [
        flavor
        for flavor in _sorted(call, flavors)
        if flavor.memory_mib >= least_ram and flavor.root_gib >= least_disk and wanted in (None, flavor.is_public)
    ]
    if marker is not None:
        ids = [flavor.id for flavor in kept]
        if marker not in ids:
            raise errors.MarkerNotFound(marker=marker)
        kept = kept[ids.index(marker) + 1 :]
    return view.FlavorPage(flavors=kept[:limit], limit=limit)


async def show_flavor(call: api_call.Call) -> model.Flavor:
    """Give one flavor; that of a size also when the last guest of its size is gone, because its id says everything about it."""

    async def unit(uow: wherry_uow.UnitOfWork) -> model.Flavor:
        return await finding.flavor_of(uow, call, call.arguments["flavor_id"])

    return await call.parts.store.read(unit)


async def create_flavor(call: api_call.Call) -> model.Flavor:
    """Make a flavor."""
    asked = cast("dict[str, Any]", call.body)["flavor"]
    named = asked.get("id")
    flavor_id = str(uuid.uuid4()) if named is None else str(named).strip()
    if model.read_size(flavor_id) is not None:
        raise faults.bad_request(f"The id {flavor_id} tells the size of a guest that was found. Send another id, or none.")
    new = model.Flavor(
        id=flavor_id,
        name=asked["name"],
        memory_mib=int(asked["ram"]),
        vcpus=int(asked["vcpus"]),
        root_gib=int(asked["disk"]),
        ephemeral_gib=int(asked.get("OS-FLV-EXT-DATA:ephemeral", 0)),
        swap_mib=int(asked.get("swap", 0)),
        rxtx_factor=float(asked.get("rxtx_factor", 1.0)),
        is_public=parameter_types.as_bool(asked.get("os-flavor-access:is_public", True)),
        description=asked.get("description"),
    )
    return await call.parts.store.run(lambda uow: uow.flavors.create(new))


async def update_flavor(call: api_call.Call) -> model.Flavor:
    """Change the description, which is all that can be changed."""
    description = cast("dict[str, Any]", call.body)["flavor"]["description"]
    flavor_id = finding.flavor_id_of(call)
    return await call.parts.store.run(lambda uow: uow.flavors.describe(flavor_id, description))


async def delete_flavor(call: api_call.Call) -> None:
    """Forget a flavor. Servers that were made from it keep their copies."""
    flavor_id = finding.flavor_id_of(call)
    await call.parts.store.run(lambda uow: uow.flavors.delete(flavor_id))


def _wanted_public(call: api_call.Call) -> bool | None:
    """Say which flavors a list shows: True the public ones, False the others, None both. Only administrators see others."""
    if not call.allows(policies.SEE_PRIVATE):
        return True
    asked = call.query.one("is_public")
    if asked is None:
        return True
    word = asked.strip().lower()
    if word not in _IS_PUBLIC:
        raise faults.bad_request(f"Invalid is_public filter [{asked}]. Send true, false or none.")
    return _IS_PUBLIC[word]


def _least(call: api_call.Call, name: str) -> int:
    asked = call.query.one(name)
    if asked is None:
        return 0
    if not (asked.isascii() and asked.isdigit() and len(asked) <= _MOST_DIGITS):
        raise faults.bad_request(f"Invalid {name} filter [{asked}]. Send a number of at most {_MOST_DIGITS} digits.")
    return int(asked)


def _sorted(call: api_call.Call, flavors: list[model.Flavor]) -> list[model.Flavor]:
    key = _SORTED_BY.get(call.query.one("sort_key") or "", lambda flavor: flavor.id)
    by_id = sorted(flavors, key=lambda flavor: flavor.id)
    return sorted(by_id, key=key, reverse=call.query.one("sort_dir") == "desc")
