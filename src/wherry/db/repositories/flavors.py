# SPDX-License-Identifier: Apache-2.0
"""Flavors that were made. Those told from the sizes of guests have no rows: see model/flavor.py."""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from wherry import errors
from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import flavor as model

_T = schema.flavors
COLUMNS = sessions.columns_of(_T, model.Flavor)


class Flavors:
    """Records of flavors, by the ids that clients name them by."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def find(self, flavor_id: str) -> model.Flavor | None:
        """Give one flavor, or None."""
        row = await self._session.row(sa.select(*COLUMNS).where(_T.c.id == flavor_id))
        return None if row is None else sessions.record_of(model.Flavor, row)

    async def get(self, flavor_id: str) -> model.Flavor:
        """Give one flavor.

        :raises FlavorNotFound: there is none
        """
        found = await self.find(flavor_id)
        if found is None:
            raise errors.FlavorNotFound(flavor=flavor_id)
        return found

    async def list(self) -> builtins.list[model.Flavor]:
        """Give all flavors by id. There are dozens of them, not thousands, so there are no pages."""
        return [sessions.record_of(model.Flavor, row) for row in await self._session.rows(sa.select(*COLUMNS).order_by(_T.c.id))]

    async def create(self, new: model.Flavor) -> model.Flavor:
        """Make a flavor.

        :raises FlavorExists: its id or its name is taken
        """
        values = {field.name: getattr(new, field.name) for field in dataclasses.fields(new) if field.name != "number"}
        statement = self._session.dialect.insert_ignoring(_T).values(**values, created_at=self._session.now).returning(*COLUMNS)
        row = await self._session.row(statement)
        if row is None:
            is_taken = await self.find(new.id) is not None
            raise errors.FlavorExists(what="ID" if is_taken else "name", value=new.id if is_taken else new.name)
        return sessions.record_of(model.Flavor, row)

    async def describe(self, flavor_id: str, description: str | None) -> model.Flavor:
        """Change the description.

        :raises FlavorNotFound: there is none
        """
        return await self._change(flavor_id, description=description)

    async def change_extra_specs(self, flavor_id: str, change: Callable[[model.Flavor], Mapping[str, str]]) -> model.Flavor:
        """Replace all extra specs by what is made of those that are there, one change after the other.

        Servers that have this flavor keep those that it had when they got it.

        :raises FlavorNotFound: there is none
        """
        row = await self._session.row(sa.select(*COLUMNS).where(_T.c.id == flavor_id).with_for_update(key_share=True))
        if row is None:
            raise errors.FlavorNotFound(flavor=flavor_id)
        return await self._change(flavor_id, extra_specs=change(sessions.record_of(model.Flavor, row)))

    async def delete(self, flavor_id: str) -> None:
        """Forget a flavor. Servers keep their copies.

        :raises FlavorNotFound: there is none
        """
        if await self._session.change(sa.delete(_T).where(_T.c.id == flavor_id)) != 1:
            raise errors.FlavorNotFound(flavor=flavor_id)

    async def _change(self, flavor_id: str, **values: Any) -> model.Flavor:
        row = await self._session.row(sa.update(_T).where(_T.c.id == flavor_id).values(**values).returning(*COLUMNS))
        if row is None:
            raise errors.FlavorNotFound(flavor=flavor_id)
        return sessions.record_of(model.Flavor, row)
