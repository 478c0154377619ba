# SPDX-License-Identifier: Apache-2.0
"""Flavors: lists, show, extra specs. Read only: there is one for each size that a server has, and each id says its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import flavors as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import servers as server_rows

#: What tells flavors apart; the other columns that Nova sorts by are the same for all of them.
_SORTED_BY: Mapping[str, Callable[[view.Flavor], object]] = {
    "memory_mb": lambda flavor: flavor.memory_mib,
    "root_gb": lambda flavor: flavor.root_gib,
    "vcpus": lambda flavor: flavor.vcpus,
}


async def list_flavors(call: api_call.Call) -> view.FlavorPage:
    """Give one page of the sizes that servers of the project have; administrators see those of all projects."""
    query = call.query
    least_ram, least_disk = _least(call, "minRam"), _least(call, "minDisk")
    is_public = query.one("is_public")
    limit, marker = finding.limit_of(call), query.one("marker")

    async def unit(uow: wherry_uow.UnitOfWork) -> list[server_rows.Size]:
        return await uow.servers.sizes(None if call.caller.is_admin else call.caller.project_id)

    sizes = await call.parts.store.read(unit)
    flavors = [view.Flavor(memory_mib=size.memory_mib, vcpus=size.vcpus, root_gib=size.root_gib) for size in sizes]
    if is_public is not None and is_public.lower() != "none" and not parameter_types.as_bool(is_public):
        # All of them are public.
        flavors = []
    kept = [flavor for flavor in _sorted(call, flavors) if flavor.memory_mib >= least_ram and flavor.root_gib >= least_disk]
    if marker is not None:
        ids = [flavor.id for flavor in kept]
        if marker not in ids:
            raise errors.MarkerNotFound(marker=marker)
        kept = kept[ids.index(marker) + 1 :]
    return view.FlavorPage(flavors=kept[:limit], limit=limit)


async def show_flavor(call: api_call.Call) -> view.Flavor:
    """Give one flavor: its id says everything about it, also when the last server of its size is gone."""
    named = call.arguments["flavor_id"]
    flavor = view.parse_id(named)
    if flavor is None:
        raise errors.NotFound(what="Flavor", name=named)
    return flavor


def _least(call: api_call.Call, name: str) -> int:
    asked = call.query.one(name)
    if asked is None:
        return 0
    if not (asked.isascii() and asked.isdigit()):
        raise faults.bad_request(f"Invalid {name} filter [{asked}]. Send a number.")
    return int(asked)


def _sorted(call: api_call.Call, flavors: list[view.Flavor]) -> list[view.Flavor]:
    key = _SORTED_BY.get(call.query.one("sort_key") or "", lambda flavor: flavor.id)
    by_id = sorted(flavors, key=lambda flavor: flavor.id)
    return sorted(by_id, key=key, reverse=call.query.one("sort_dir") == "desc")
