# SPDX-License-Identifier: Apache-2.0
"""Strikes at a chosen step of an operation of real processes: the moment is told, or held, by the database through which every step goes.

A strike comes when a step was stored and its commands go out, or when its work is done and the transaction that says so is not: held
there, so that the moment is the same each time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import threading
from collections.abc import Callable

import asyncpg  # type: ignore[import-untyped]  # it has no types

from wherry.testing import fleet as fleets

#: The lock on which a transaction waits that is held.
_LOCK = 20061
_CHANNEL = "strikes"
_SECONDS = 30.0
_POLL_SECONDS = 0.005

_SETUP = f"""
CREATE TABLE strikes (instance_uuid text PRIMARY KEY, step text NOT NULL, moment text NOT NULL);
CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE armed strikes%ROWTYPE; was text := '';
BEGIN
    SELECT * INTO armed FROM strikes WHERE instance_uuid = NEW.instance_uuid::text;
    IF NOT FOUND THEN RETURN NEW; END IF;
    IF TG_OP = 'UPDATE' THEN was := OLD.step; END IF;
    IF was = NEW.step THEN RETURN NEW; END IF;
    IF armed.moment = 'begun' AND NEW.step = armed.step THEN PERFORM pg_notify('{_CHANNEL}', NEW.owner); END IF;
    IF armed.moment = 'done' AND was = armed.step THEN PERFORM pg_advisory_xact_lock_shared({_LOCK}); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER strike BEFORE INSERT OR UPDATE ON operations FOR EACH ROW EXECUTE FUNCTION strike();
"""
_WAITING = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {_LOCK} AND NOT granted"
_OWNER = "SELECT owner FROM operations WHERE instance_uuid::text = $1 AND finished_at IS NULL"


class Moment(enum.StrEnum):
    """When, in the life of a step, somebody dies."""

    #: It was stored; what it commands is on its way.
    BEGUN = "begun"
    #: What it commands is done; that is not stored yet.
    DONE = "done"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where to strike."""

    instance_uuid: str
    step: str
    moment: Moment


class Striker:
    """Strikes once, in a thread of its own.

    :param kill: is given the id of the conductor that drives the operation, the moment it is reached; says whether that one died of it.
    """

    def __init__(self, fleet: fleets.Fleet, place: Place, kill: Callable[[str], bool]) -> None:
        self._address = _address(fleet)
        self._place = place
        self._kill = kill
        self._is_armed = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="striker")

    def arm(self) -> None:
        """Lie in wait."""
        self._thread.start()
        if not self._is_armed.wait(_SECONDS):
            raise AssertionError("the striker could not be armed") from self._problem

    def join(self) -> None:
        """Wait until it has struck.

        :raises AssertionError: the moment did not come.
        """
        self._thread.join()
        if self._problem is not None:
            raise AssertionError(f"{self._place}: {self._problem!r}") from self._problem

    def _run(self) -> None:
        try:
            asyncio.run(asyncio.wait_for(self._strike(), _SECONDS))
        except BaseException as problem:
            self._problem = problem

    async def _strike(self) -> None:
        connection = await asyncpg.connect(self._address)
        try:
            # Whoever is held waits for this lock, which goes with the connection.
            await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
            told: asyncio.Queue[str] = asyncio.Queue()
            await connection.add_listener(_CHANNEL, lambda *heard: told.put_nowait(str(heard[-1])))
            place = self._place
            await connection.execute("INSERT INTO strikes VALUES ($1, $2, $3)", place.instance_uuid, place.step, place.moment.value)
            self._is_armed.set()
            if place.moment is Moment.BEGUN:
                self._kill(await told.get())
            else:
                held = await _held(connection)
                if self._kill(await connection.fetchval(_OWNER, place.instance_uuid) or ""):
                    # As the server does when it notices that nobody is there any more: the dead store nothing.
                    await connection.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", held)
            await connection.execute("DELETE FROM strikes")
        finally:
            await connection.close()


def prepare(fleet: fleets.Fleet) -> None:
    """Have the database of a fleet tell of steps."""

    async def run() -> None:
        connection = await asyncpg.connect(_address(fleet))
        try:
            await connection.execute(_SETUP)
        finally:
            await connection.close()

    asyncio.run(run())


def _address(fleet: fleets.Fleet) -> str:
    return fleet.conductors[0].option("database", "connection").replace("postgresql+asyncpg", "postgresql")


async def _held(connection: asyncpg.Connection) -> list[int]:
    while not (found := [row["pid"] for row in await connection.fetch(_WAITING)]):  # noqa: ASYNC110 - nothing tells of a lock waited for
        await asyncio.sleep(_POLL_SECONDS)
    return found
