# SPDX-License-Identifier: Apache-2.0
"""Facts that agents reported of transfers, each kept once. What they mean is the conductor's business."""

from __future__ import annotations

import builtins
import dataclasses

import sqlalchemy as sa

from wherry import errors
from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import operation as model

_T = schema.reports
_O = schema.operations
_COLUMNS = sessions.columns_of(_T, model.Report)


class Reports:
    """Stored reports."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def store(self, report: model.Report) -> bool:
        """Keep a fact. False: it is known already, and the first one stays.

        :raises NotFound: there is no such operation.
        """
        values = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
        try:
            return await self._session.change(self._session.dialect.insert_ignoring(_T).values(**values)) == 1
        except sa.exc.IntegrityError as error:
            raise errors.NotFound(what="Operation", name=report.operation_id) from error

    async def list(self, operation_id: str, after: tuple[int, int] | None = None) -> builtins.list[model.Report]:
        """Give the facts of an operation in order, those after (epoch, sequence) only where that is given."""
        statement = sa.select(*_COLUMNS).where(_T.c.operation_id == operation_id).order_by(_T.c.epoch, _T.c.sequence)
        if after is not None:
            epoch, sequence = after
            statement = statement.where(sa.or_(_T.c.epoch > epoch, sa.and_(_T.c.epoch == epoch, _T.c.sequence > sequence)))
        return [sessions.record_of(model.Report, row) for row in await self._session.rows(statement)]

    async def counts_of(self, conductor_id: str) -> dict[str, int]:
        """Give how many facts there are of each operation that the conductor drives, where there are any."""
        statement = (
            sa.select(_T.c.operation_id, sa.func.count().label("reports"))
            .join(_O, _O.c.id == _T.c.operation_id)
            .where(_O.c.owner == conductor_id, _O.c.finished_at.is_(None))
            .group_by(_T.c.operation_id)
        )
        return {row.operation_id: int(row.reports) for row in await self._session.rows(statement)}
