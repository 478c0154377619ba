# SPDX-License-Identifier: Apache-2.0
"""Kept statements give what SQLAlchemy gives, and are looked at once."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.sqlite import pysqlite

from wherry.db import engine as engines
from wherry.db import kept
from wherry.db import session as sessions

_T = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20)),
    sa.Column("is_new", sa.Boolean),
    sa.Column("number", sa.Integer, default=7),
)
_NAMED = sa.select(_T).where(_T.c.name.in_(sa.bindparam("names", expanding=True)), _T.c.id > sa.bindparam("above")).order_by(_T.c.id)
_MARK = sa.update(_T).where(_T.c.name == sa.bindparam("of_name"), sessions.is_one_of(_T.c.id, [1, 3])).values(number=_T.c.number + 10)


@pytest.fixture
def things() -> sqlite3.Connection:
    raw = sqlite3.connect(":memory:")
    raw.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, is_new INTEGER, number INTEGER)")
    raw.executemany("INSERT INTO things VALUES (?, ?, ?, ?)", [(1, "a", 1, 1), (2, "b", 0, 2), (3, "c", None, 3), (4, "a", 1, 4)])
    return raw


def _plan(statement: sa.Executable, parameters: engines.Parameters, plans: kept.Plans | None = None) -> kept.Plan:
    plan = (plans or kept.Plans(pysqlite.dialect())).of(statement, parameters)
    assert plan is not None
    return plan


def _found(raw: sqlite3.Connection, statement: sa.Executable, parameters: dict[str, Any]) -> list[engines.Row]:
    plan = _plan(statement, parameters)
    return plan.rows(raw.execute(plan.text, plan.arguments(parameters)))


@pytest.mark.parametrize(
    ("names", "ids"), [(["a"], [1, 4]), (["a", "c", "x"], [1, 3, 4]), ([], []), (["a", "b", "c", "d", "e"], [1, 2, 3, 4])]
)
def test_a_list_may_have_any_length(things: sqlite3.Connection, names: Sequence[str], ids: Sequence[int]) -> None:
    assert [row.id for row in _found(things, _NAMED, {"names": names, "above": 0})] == ids


def test_a_row_has_what_sqlalchemys_has(things: sqlite3.Connection) -> None:
    (row,) = _found(things, _NAMED, {"names": ["b"], "above": 1})
    # The column is a number in SQLite.
    assert row.is_new is False
    assert dict(row._mapping) == {"id": 2, "name": "b", "is_new": False, "number": 2}
    assert tuple(row) == (2, "b", False, 2)
    assert row._fields == ("id", "name", "is_new", "number")


def test_parameters_that_are_columns_are_written(things: sqlite3.Connection) -> None:
    parameters = {"of_name": "a", "is_new": False}
    plan = _plan(_MARK, parameters)
    assert things.execute(plan.text, plan.arguments(parameters)).rowcount == 1
    assert things.execute("SELECT id, is_new, number FROM things WHERE name = 'a' ORDER BY id").fetchall() == [(1, 0, 11), (4, 1, 4)]


def test_a_statement_is_looked_at_once_for_each_set_of_parameters() -> None:
    plans = kept.Plans(pysqlite.dialect())
    first = _plan(_NAMED, {"names": ["a", "b", "c"], "above": 0}, plans)
    assert _plan(_NAMED, {"names": ["d", "e", "f", "g"], "above": 2}, plans) is first
    assert _plan(_NAMED, {"names": ["a"], "above": 0}, plans) is not first


def test_what_is_known_of_a_statement_goes_with_it() -> None:
    plans = kept.Plans(pysqlite.dialect())
    statement = sa.select(_T.c.id).where(_T.c.name == sa.bindparam("name"))
    _plan(statement, {"name": "a"}, plans)
    assert len(plans._known) == 1
    del statement
    gc.collect()
    assert len(plans._known) == 0


def test_a_parameter_that_stands_in_several_places_is_sent_once_where_places_have_numbers() -> None:
    twice = sa.select(_T.c.id).where(sa.or_(_T.c.name == sa.bindparam("name"), _T.c.number == 5, _T.c.name > sa.bindparam("name")))
    numbered = kept.Plans(postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so
    assert _plan(twice, {"name": "a"}, numbered).arguments({"name": "a"}) == ["a", 5]
    assert _plan(twice, {"name": "a"}).arguments({"name": "a"}) == ["a", 5, "a"]


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(sa.exc.InvalidRequestError, match="'above'"):
        kept.Plans(pysqlite.dialect()).of(_NAMED, {"names": ["a"]})


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        pytest.param(_NAMED, None, id="put together for this execution"),
        pytest.param(sa.insert(_T), {"name": "a"}, id="has a default that Python gives"),
        pytest.param(sa.insert(_T).returning(_T.c.id), [{"name": "a", "number": 1}, {"name": "b", "number": 2}], id="many, with rows"),
        pytest.param(sa.update(_T).where(_T.c.id.in_([1, 2])), {"name": "a"}, id="writes, and has a list"),
    ],
)
def test_what_is_left_to_sqlalchemy(statement: sa.Executable, parameters: engines.Parameters | None) -> None:
    assert kept.Plans(pysqlite.dialect()).of(statement, parameters) is None


def test_an_answer_with_too_many_or_too_few_rows_is_refused(things: sqlite3.Connection) -> None:
    both = kept.Answer(found=_found(things, _NAMED, {"names": ["a"], "above": 0}), rowcount=2)
    with pytest.raises(sa.exc.MultipleResultsFound):
        both.one_or_none()
    none = kept.Answer(found=[], rowcount=0)
    assert none.one_or_none() is None
    with pytest.raises(sa.exc.NoResultFound):
        none.one()
