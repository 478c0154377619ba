# SPDX-License-Identifier: Apache-2.0
"""A port that is no number, an unknown parameter in the database's address, a file that is no database, a journal where none can be.

Each ended in a traceback.
"""

from __future__ import annotations

import pathlib
import sqlite3

import pytest

from wherry import clock as clocks
from wherry import errors
from wherry.agent import storage
from wherry.config import database as config_database
from wherry.db import store as stores

_BEGIN = "postgresql+asyncpg://wherry:geheim@db"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (f"{_BEGIN}:abc/wherry", "its port is no number from 1 to 65535"),
        (f"{_BEGIN}:99999/wherry", "its port is no number from 1 to 65535"),
        (f"{_BEGIN}:0/wherry", "its port is no number from 1 to 65535"),
        (f"{_BEGIN}/wherry?sslmode=require", "the driver knows no parameter sslmode"),
        (f"{_BEGIN}/wherry?host=/run&foo=bar&baz=1", "the driver knows no parameter baz, foo"),
        (f"{_BEGIN}", "it names no database"),
        (f"{_BEGIN}/", "it names no database"),
        ("postgresql+asyncpg://wherry:ge@heim@db/wherry", "it has more than one @"),
        (f"{_BEGIN}:1:2/wherry", "its port is no number from 1 to 65535"),
    ],
)
def test_an_address_of_a_database(address: str, problem: str) -> None:
    with pytest.raises(errors.ConfigInvalid) as caught:
        stores.engine_for(config_database.DatabaseSection(connection=address))
    told = f"{caught.value.message} {caught.value.remedy}"
    assert problem in told and "[database] connection" in told
    assert "geheim" not in told and "heim@" not in told


@pytest.mark.parametrize(
    "more",
    [
        "",
        "?ssl=require",
        "?host=/run/postgresql&port=5433",
        "?prepared_statement_cache_size=0",
        "?host=one:5432&host=two:5432&target_session_attrs=primary",
    ],
)
async def test_what_the_driver_takes_is_taken(more: str) -> None:
    await stores.engine_for(config_database.DatabaseSection(connection=f"{_BEGIN}/wherry{more}")).close()


async def test_a_journal_where_none_can_be() -> None:
    with pytest.raises(errors.ConfigInvalid, match=r"\[agent\] journal_path: /dev/null/h1 cannot be used: Not a directory"):
        await storage.FileStorage(pathlib.Path("/dev/null/h1")).lock("me")


async def test_a_database_file_in_no_directory(tmp_path: pathlib.Path) -> None:
    """It may still be made: the process waits for it, and says what it waits for."""
    file = tmp_path / "state" / "wherry.sqlite"
    store = await stores.Store.open(config_database.DatabaseSection(connection=f"sqlite:///{file}"), clocks.LoopClock())
    with pytest.raises(errors.DatabaseUnavailable, match=f"{file} cannot be opened: there is no directory {file.parent}"):
        await store.check()
    file.parent.mkdir()
    assert (await store.upgrade()).is_usable
    await store.close()


async def test_a_file_that_is_no_database(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "wherry.conf"
    file.write_text("[DEFAULT]\nstate_path = /var/lib/wherry\n" * 10)
    store = await stores.Store.open(config_database.DatabaseSection(connection=f"sqlite:///{file}"), clocks.LoopClock())
    with pytest.raises(errors.ConfigInvalid, match=rf"\[database\] connection: {file} is no SQLite database") as caught:
        await store.check()
    assert caught.value.remedy == "Name a file that Wherry made, or one that does not exist yet."
    await store.close()


async def test_a_database_of_another_program(tmp_path: pathlib.Path) -> None:
    """It was taken for one of a newer release, and the first statement failed."""
    file = tmp_path / "nova.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        other.execute("INSERT INTO alembic_version VALUES ('8f2f1571d55b')")
    store = await stores.Store.open(config_database.DatabaseSection(connection=f"sqlite:///{file}"), clocks.LoopClock())
    with pytest.raises(errors.ConfigInvalid, match="it is at revision 8f2f1571d55b, which no release of Wherry has"):
        await store.check()
    with pytest.raises(errors.ConfigInvalid, match="8f2f1571d55b"):
        await store.upgrade()
    await store.close()
