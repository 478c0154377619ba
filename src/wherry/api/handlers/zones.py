# SPDX-License-Identifier: Apache-2.0
"""Availability zones, as hosts name them, and aggregates, of which there are none. Read only."""

from __future__ import annotations

from typing import NoReturn

from wherry import errors
from wherry.api import call as api_call
from wherry.api.views import zones as view
from wherry.db import uow as wherry_uow
from wherry.model import host as model


async def list_zones(call: api_call.Call) -> list[view.ShownHost]:
    """Give every host; the view puts them together by zone."""

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.Host]:
        return await uow.hosts.list()

    now, limit = call.parts.clock.now(), call.parts.config.default.service_down_time_seconds
    return [view.ShownHost(host=host, is_up=model.is_up(host, now, limit)) for host in await call.parts.store.read(unit)]


async def list_aggregates(_call: api_call.Call) -> None:
    """Give nothing: hosts are not aggregated here."""


async def show_aggregate(call: api_call.Call) -> NoReturn:
    """Find none."""
    raise errors.NotFound(what="Aggregate", name=call.arguments["aggregate_id"])
