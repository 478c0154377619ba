# SPDX-License-Identifier: Apache-2.0
"""Facts that agents reported of transfers, each kept once. What they mean is the conductor's business."""

from __future__ import annotations

import builtins
import dataclasses
import functools

import sqlalchemy as sa

from wherry import errors
from wherry.db import schema
from wherry.db import session as sessions
from wherry.model import operation as model

_T = schema.reports
_O = schema.operations
_COLUMNS = sessions.columns_of(_T, model.Report)
_NAMES = [column.name for column in _COLUMNS]
_M = schema.migrations
#: A row of what was reported, if the migration is known and its source is who reports.
_FROM_SOURCE = sa.select(*(value.label(name) for name, value in sessions.placeholders(_T, "new", _NAMES).items())).where(
    _M.c.uuid == sa.bindparam("new_operation_id"), _M.c.source_compute == sa.bindparam("new_host")
)


@functools.cache
def _storing(insert: sa.Insert) -> sa.Insert:
    return insert.from_select(_NAMES, _FROM_SOURCE)


_IS_AFTER = sa.or_(
    _T.c.epoch > sa.bindparam("epoch"), sa.and_(_T.c.epoch == sa.bindparam("epoch"), _T.c.sequence > sa.bindparam("sequence"))
)
_AFTER = sa.select(*_COLUMNS).where(_T.c.operation_id == sa.bindparam("operation_id"), _IS_AFTER).order_by(_T.c.epoch, _T.c.sequence)
_COUNTS = (
    sa.select(_T.c.operation_id, sa.func.count().label("reports"))
    .join(_O, _O.c.id == _T.c.operation_id)
    .where(_O.c.owner == sa.bindparam("conductor"), _O.c.finished_at.is_(None))
    .group_by(_T.c.operation_id)
)


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
            return await self._session.change(self._session.dialect.insert_ignoring(_T), values) == 1
        except sa.exc.IntegrityError as error:
            raise errors.NotFound(what="Operation", name=report.operation_id) from error

    async def store_at_once(self, report: model.Report) -> bool:
        """Keep a fact that its migration's source reports, in one statement; where that cannot be told, it takes more.

        :raises TakesMore: where only one may be run.
        """
        if self._session.dialect.writes_at_once:
            parameters = {f"new_{name}": getattr(report, name) for name in _NAMES}
            if await self._session.change(_storing(self._session.dialect.insert_ignoring(_T)), parameters) == 1:
                return True
        if self._session.is_single:
            raise sessions.TakesMore
        return False

    async def list(self, operation_id: str, after: tuple[int, int] | None = None) -> builtins.list[model.Report]:
        """Give the facts of an operation in order, those after (epoch, sequence) only where that is given."""
        # Both count from 0.
        epoch, sequence = (-1, -1) if after is None else after
        parameters = {"operation_id": operation_id, "epoch": epoch, "sequence": sequence}
        return sessions.records_of(model.Report, await self._session.rows(_AFTER, parameters))

    async def counts_of(self, conductor_id: str) -> dict[str, int]:
        """Give how many facts there are of each operation that the conductor drives, where there are any."""
        return {row.operation_id: int(row.reports) for row in await self._session.rows(_COUNTS, {"conductor": conductor_id})}
