# SPDX-License-Identifier: Apache-2.0
"""Extra specs of flavors: list, show, add, change, delete. Kept as they are sent; nothing here acts on them, but servers show them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
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

    def without(flavor: model.Flavor) -> dict[str, str]:
        gone = _key_of(call, flavor)
        return {key: value for key, value in flavor.extra_specs.items() if key != gone}

    await _change(call, without)


async def _merge(call: api_call.Call, sent: Mapping[str, str]) -> model.Flavor:
    return await _change(call, lambda flavor: {**flavor.extra_specs, **sent})


async def _change(call: api_call.Call, change: Callable[[model.Flavor], Mapping[str, str]]) -> model.Flavor:
    flavor_id = finding.flavor_id_of(call)
    return await call.parts.store.run(lambda uow: uow.flavors.change_extra_specs(flavor_id, change))


def _key_of(call: api_call.Call, flavor: model.Flavor) -> str:
    key = call.arguments["key"]
    if key not in flavor.extra_specs:
        raise errors.ExtraSpecNotFound(flavor=flavor.id, key=key)
    return key


def _texts(sent: Mapping[str, object]) -> dict[str, str]:
    # Numbers are let in, as in Nova, and are texts from then on.
    return {key: str(value) for key, value in sent.items()}
