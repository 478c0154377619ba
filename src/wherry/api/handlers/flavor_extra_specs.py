# SPDX-License-Identifier: Apache-2.0
"""Extra specs of flavors: list, show, add, change, delete. Kept as they are sent; nothing here acts on them, but servers show them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.db import uow as wherry_uow
from wherry.model import flavor as model


async def show_extra_spec(call: api_call.Call) -> dict[str, str]:
    """Give one."""

    async def unit(uow: wherry_uow.UnitOfWork) -> dict[str, str]:
        flavor = await finding.flavor_of(uow, call, call.arguments["flavor_id"])
        return {_key_of(call, flavor): flavor.extra_specs[call.arguments["key"]]}

    return await call.parts.store.read(unit)


async def create_extra_specs(call: api_call.Call) -> model.Flavor:
    """Add those that are sent to those that are there; the answer, as in Nova, has only those that were sent."""
    sent = _texts(cast("dict[str, Any]", call.body)["extra_specs"])
    flavor = await _merge(call, sent)
    return dataclasses.replace(flavor, extra_specs=sent)


async def update_extra_spec(call: api_call.Call) -> dict[str, str]:
    """Set the one that the path names."""
    key = call.arguments["key"]
    sent = _texts(cast("dict[str, Any]", call.body))
    if key not in sent:
        raise faults.bad_request("Request body and URI mismatch")
    await _merge(call, sent)
    return sent


async def delete_extra_spec(call: api_call.Call) -> None:
    """Delete one."""

    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        flavor = await uow.flavors.get(finding.flavor_id_of(call))
        gone = _key_of(call, flavor)
        await uow.flavors.set_extra_specs(flavor.id, {key: value for key, value in flavor.extra_specs.items() if key != gone})

    await call.parts.store.run(unit)


async def _merge(call: api_call.Call, sent: Mapping[str, str]) -> model.Flavor:
    async def unit(uow: wherry_uow.UnitOfWork) -> model.Flavor:
        flavor = await uow.flavors.get(finding.flavor_id_of(call))
        return await uow.flavors.set_extra_specs(flavor.id, {**flavor.extra_specs, **sent})

    return await call.parts.store.run(unit)


def _key_of(call: api_call.Call, flavor: model.Flavor) -> str:
    key = call.arguments["key"]
    if key not in flavor.extra_specs:
        raise errors.ExtraSpecNotFound(flavor=flavor.id, key=key)
    return key


def _texts(sent: Mapping[str, object]) -> dict[str, str]:
    # Numbers are let in, as in Nova, and are texts from then on.
    return {key: str(value) for key, value in sent.items()}
