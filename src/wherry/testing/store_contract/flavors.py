# SPDX-License-Identifier: Apache-2.0
"""What is promised of flavors, and of the copies that servers have of them."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from wherry import errors
from wherry.db.repositories import servers as server_records
from wherry.model import flavor as model
from wherry.model import operation, states
from wherry.model import server as server_model
from wherry.testing.store_contract import harness as harnesses

SMALL = model.Flavor(
    id="small-id", name="small", memory_mib=512, vcpus=2, root_gib=3, ephemeral_gib=1, swap_mib=64, rxtx_factor=1.5, is_public=False
)


async def _make(harness: harnesses.Harness, flavor: model.Flavor = SMALL) -> model.Flavor:
    return await harness.store.run(lambda uow: uow.flavors.create(flavor))


class FlavorContract:
    """Flavors that are made."""

    async def test_a_few_are_there_from_the_beginning(self, harness: harnesses.Harness) -> None:
        known = await harness.store.read(lambda uow: uow.flavors.list())
        assert [flavor.name for flavor in known] == ["m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge"]

    async def test_what_is_made_is_found_as_it_was_made(self, harness: harnesses.Harness) -> None:
        made = await _make(harness, dataclasses.replace(SMALL, description="words", extra_specs={"a": "1"}))
        assert made == dataclasses.replace(SMALL, description="words", extra_specs={"a": "1"})
        assert await harness.store.read(lambda uow: uow.flavors.get("small-id")) == made
        assert await harness.store.read(lambda uow: uow.flavors.find("other")) is None
        with pytest.raises(errors.FlavorNotFound, match="other"):
            await harness.store.read(lambda uow: uow.flavors.get("other"))

    @pytest.mark.parametrize(
        ("second", "what"),
        [(dataclasses.replace(SMALL, name="other"), "ID small-id"), (dataclasses.replace(SMALL, id="other"), "name small")],
    )
    async def test_ids_and_names_are_taken_once(self, harness: harnesses.Harness, second: model.Flavor, what: str) -> None:
        await _make(harness)
        with pytest.raises(errors.FlavorExists, match=what):
            await _make(harness, second)

    async def test_description_and_extra_specs_are_replaced(self, harness: harnesses.Harness) -> None:
        await _make(harness, dataclasses.replace(SMALL, extra_specs={"a": "1"}))
        await harness.store.run(lambda uow: uow.flavors.describe("small-id", "words"))
        changed = await harness.store.run(
            lambda uow: uow.flavors.change_extra_specs("small-id", lambda known: {"b": known.extra_specs["a"]})
        )
        assert changed == dataclasses.replace(SMALL, description="words", extra_specs={"b": "1"})
        assert await harness.store.read(lambda uow: uow.flavors.get("small-id")) == changed
        with pytest.raises(errors.FlavorNotFound):
            await harness.store.run(lambda uow: uow.flavors.describe("other", None))

    async def test_no_extra_spec_is_lost_when_many_are_added_at_once(self, harness: harnesses.Harness) -> None:
        await _make(harness)

        async def add(key: str) -> None:
            await harness.store.run(lambda uow: uow.flavors.change_extra_specs("small-id", lambda known: {**known.extra_specs, key: "x"}))

        keys = [f"key-{number}" for number in range(8)]
        await asyncio.gather(*(add(key) for key in keys))
        assert sorted((await harness.store.read(lambda uow: uow.flavors.get("small-id"))).extra_specs) == keys

    async def test_a_deleted_one_is_gone_and_its_names_are_free(self, harness: harnesses.Harness) -> None:
        await _make(harness)
        await harness.store.run(lambda uow: uow.flavors.delete("small-id"))
        with pytest.raises(errors.FlavorNotFound):
            await harness.store.run(lambda uow: uow.flavors.delete("small-id"))
        await _make(harness)


class ServerFlavorContract:
    """Copies that servers have of their flavors."""

    async def test_a_server_keeps_its_copy_and_is_found_by_its_id(self, harness: harnesses.Harness) -> None:
        of_flavor = await harness.make_server(flavor=SMALL, vcpus=2, memory_mib=512, root_gib=3)
        found_guest = await harness.make_server(vcpus=2, memory_mib=512, root_gib=3)
        assert (await harness.server(of_flavor.uuid)).current_flavor == SMALL
        told = (await harness.server(found_guest.uuid)).current_flavor
        assert told.id == told.name == "c2-m512-d3"
        for flavor_id, uuid in (("small-id", of_flavor.uuid), ("c2-m512-d3", found_guest.uuid)):
            query = server_records.ServerQuery(flavor=flavor_id)
            assert [one.uuid for one in await harness.store.read(lambda uow, query=query: uow.servers.list(query))] == [uuid]  # type: ignore[misc]  # bound at once
        size = server_records.Size(vcpus=2, memory_mib=512, root_gib=3)
        assert await harness.store.read(lambda uow: uow.servers.sizes(None)) == [size]

    async def test_an_update_and_a_transition_give_a_server_another_flavor(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(flavor=SMALL)
        large = dataclasses.replace(SMALL, id="large-id", name="large", memory_mib=1024, vcpus=4, root_gib=9)
        changing = operation.Transition(event=states.Event.CHECKS_PASSED, server=server_model.ServerChange(flavor=large))
        await harness.advance(owned, changing)
        server = await harness.server(owned.instance_uuid)
        assert (server.flavor, server.memory_mib, server.vcpus, server.root_gib) == (large, 1024, 4, 9)
        listed = await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery(flavor="large-id")))
        assert [one.uuid for one in listed] == [server.uuid]
        await harness.store.run(lambda uow: uow.servers.update(server, flavor=SMALL))
        listed = await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery(flavor="small-id")))
        assert [one.uuid for one in listed] == [server.uuid]
