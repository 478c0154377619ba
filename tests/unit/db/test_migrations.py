# SPDX-License-Identifier: Apache-2.0
"""The revisions make the schema that the tables describe, and are applied in the order that upgrades need."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import re
import subprocess
import sys

import pytest
import sqlalchemy as sa

from wherry.clock import LoopClock
from wherry.config import database as config_database
from wherry.db import schema
from wherry.db import session as sessions
from wherry.db import store as stores
from wherry.db.migrations import runner
from wherry.model import flavor, host, instance_actions, migration, operation, server, server_group

_VERSIONS = pathlib.Path(runner.__file__).parent / "versions"


def _objects(connection: sa.Connection) -> dict[str, str]:
    rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"))
    # SQLite keeps the text, to which an added column is appended as it stands there.
    kept = {name: re.sub(r" (?=[,)])", "", re.sub(r"\s+", " ", sql.replace('"', ""))) for name, sql in rows if name != "alembic_version"}
    # A foreign key names the index's table the same way, whichever table was made first; the order of clauses may differ.
    return {name: " ".join(_clauses(sql)) for name, sql in kept.items()}


def _clauses(sql: str) -> list[str]:
    """Give what is made, and its columns and constraints; a column that was added later stands behind the others."""
    begin, _, body = sql.strip().removesuffix(")").partition("(")
    return [begin.strip(), *sorted(clause.strip() for clause in re.split(r",(?![^(]*\))", body))]


def test_the_revisions_make_the_schema_that_the_tables_describe() -> None:
    described, made = sa.create_engine("sqlite://"), sa.create_engine("sqlite://")
    with described.begin() as connection:
        schema.metadata.create_all(connection)
        expected = _objects(connection)
    with made.begin() as connection:
        runner.upgrade(connection)
        found = _objects(connection)
        assert connection.scalars(sa.select(schema.locks.c.name)).all() == [schema.CLUSTER_LOCK]
    described.dispose()
    made.dispose()
    assert sorted(found) == sorted(expected)
    for name, sql in expected.items():
        assert found[name] == sql, name


@pytest.mark.parametrize(
    ("table", "record", "derived"),
    [
        (schema.servers, server.Server, frozenset()),
        (schema.hosts, host.Host, frozenset({"usage"})),
        (schema.migrations, migration.Migration, frozenset()),
        (schema.operations, operation.Operation, frozenset()),
        (schema.intents, operation.Intent, frozenset()),
        (schema.reports, operation.Report, frozenset()),
        (schema.actions, instance_actions.InstanceAction, frozenset({"events"})),
        (schema.events, instance_actions.InstanceEvent, frozenset()),
        (schema.flavors, flavor.Flavor, frozenset()),
        (schema.server_groups, server_group.ServerGroup, frozenset({"members"})),
    ],
)
def test_every_field_of_a_record_has_a_column(table: sa.Table, record: type, derived: frozenset[str]) -> None:
    columns = sessions.columns_of(table, record, derived=derived)
    assert [column.name for column in columns] == [field.name for field in dataclasses.fields(record) if field.name not in derived]


def test_file_names_say_number_and_phase_and_the_chain_is_in_their_order() -> None:
    names = sorted(path.stem for path in _VERSIONS.glob("[0-9]*.py"))
    assert names
    for number, name in enumerate(names, start=1):
        assert re.fullmatch(rf"{number:04d}_(pre|post)_[a-z0-9_]+", name), name
        revision = importlib.import_module(f"wherry.db.migrations.versions.{name}")
        assert revision.revision == f"{number:04d}"
        assert revision.down_revision == (f"{number - 1:04d}" if number > 1 else None)


def test_a_schema_that_is_current_is_left_without_loading_alembic(tmp_path: pathlib.Path) -> None:
    address = f"sqlite:///{tmp_path}/w.sqlite"
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        assert runner.upgrade(connection).is_current
    engine.dispose()
    program = (
        "import sys, sqlalchemy\n"
        "from wherry.db.migrations import runner\n"
        f"with sqlalchemy.create_engine({address!r}).begin() as connection:\n"
        "    print(runner.upgrade(connection).is_current, 'alembic' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-W", "ignore::ResourceWarning", "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "False"]


async def test_an_empty_database_is_not_usable_until_it_is_upgraded(tmp_path: pathlib.Path) -> None:
    config = config_database.DatabaseSection(connection=f"sqlite:///{tmp_path}/w.sqlite")
    store = await stores.Store.open(config, LoopClock())
    before = await store.check()
    assert (before.current, before.is_usable, before.is_current) == (None, False, False)
    assert before.pending[0] == "0001_pre_first_schema"
    after = await store.upgrade(only_before_start=True)
    assert after.is_usable
    await store.close()


def test_a_schema_of_a_newer_release_is_usable_and_left_alone() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        runner.upgrade(connection)
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        assert runner.state_of(connection).is_newer
        assert runner.state_of(connection).is_usable
        assert runner.upgrade(connection).current == "9999"
    engine.dispose()


@pytest.mark.parametrize(
    ("current", "pending", "is_usable"),
    [
        ("0002", (), True),
        ("0001", ("0002_post_drop_old",), True),
        ("0001", ("0002_pre_add_new",), False),
        ("0001", ("0002_post_drop_old", "0003_pre_add_new"), False),
        (None, ("0001_pre_first_schema",), False),
    ],
)
def test_a_release_can_work_on_a_schema_that_only_lacks_what_comes_after_the_upgrade(
    current: str | None, pending: tuple[str, ...], is_usable: bool
) -> None:
    assert runner.SchemaState(current=current, head="0009", pending=pending).is_usable is is_usable
