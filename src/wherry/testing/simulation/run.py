# SPDX-License-Identifier: Apache-2.0
"""One run: bring a schedule's system up, let everything befall it, let it rest, and judge."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import gc
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from wherry.agent import journal
from wherry.db import uow as uows
from wherry.db.repositories import migrations
from wherry.drivers import simulated
from wherry.drivers.simulated import profiles
from wherry.model import guest, operation, states
from wherry.testing import invariants, virtual_time
from wherry.testing.simulation import chance as chances
from wherry.testing.simulation import clients as clients_module
from wherry.testing.simulation import deeds as deeds_module
from wherry.testing.simulation import directed, judge, process, schedule, scrutiny, system, watch
from wherry.testing.simulation import trace as traces

#: Virtual seconds after which a run is given up.
_LIMIT_SECONDS = 1500.0
#: Rounds of the loop at one moment of virtual time; a few hundred are usual.
_MOST_ROUNDS = 20_000
#: Virtual seconds that everything has to come to rest once nothing goes wrong any more.
_REST_SECONDS = 900.0
#: Virtual seconds between two inventories once everything rests.
_LAST_INTERVAL_SECONDS = 2.0
#: Virtual seconds that what a question left may stay.
_FORGETTING_SECONDS = 120.0
#: Virtual seconds after the last fault by which whatever was asked has reached its source: the longest absence, and some tries.
_DELIVERY_SECONDS = 45.0
#: Virtual seconds after which somebody aborts what would go on for ever.
_PATIENCE_SECONDS = 60.0


@dataclasses.dataclass(kw_only=True, slots=True)
class Result:
    """What became of one seed."""

    seed: int
    problems: list[str]
    digest: str
    #: Ended migrations by status and reason.
    ended: dict[str, int] = dataclasses.field(default_factory=dict)
    deaths: int = 0
    messages: int = 0
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    #: The whole log, where it was asked for.
    log: str = ""
    story: str = ""

    @property
    def is_good(self) -> bool:
        """Whether every invariant held."""
        return not self.problems


class _Seen(Exception):
    """Raised to end a run in which something was seen not to hold."""


def run(seed: int, *, is_whole: bool = False, is_hasty: bool = False) -> Result:
    """Run the schedule of a seed, always the same; see `run_schedule`."""
    return run_schedule(directed.make(seed), is_whole=is_whole, is_hasty=is_hasty)


def run_schedule(plan: schedule.Schedule, *, is_whole: bool = False, is_hasty: bool = False) -> Result:
    """Run one schedule, always the same.

    :param is_whole: whether its whole log is wanted.
    :param is_hasty: whether to end as soon as anything was seen not to hold, for whom it is enough that something does not.
    """
    started = time.process_time()
    # Of whoever else uses this process, as other tests do.
    others = set(threading.enumerate())
    trace = traces.Trace(is_whole=is_whole)
    result = Result(seed=plan.seed, problems=[], digest="")
    if is_whole:
        trace.lines.append(f"{plan}")
    loop = virtual_time.VirtualTimeLoop(_LIMIT_SECONDS)
    loop.most_rounds = _MOST_ROUNDS
    loop.set_exception_handler(_failing(result))
    process.install(loop)
    # A run makes little garbage in circles; what there is goes with the next collection after it.
    gc.disable()
    try:
        with trace.listening():
            loop.run_until_complete(_run(plan, trace, loop, result, is_hasty=is_hasty))
            trace.close()
    except _Seen as seen:
        result.problems.append(str(seen))
    except (AssertionError, virtual_time.Deadlock, virtual_time.TimeLimitExceeded) as error:
        result.problems.append(f"{type(error).__name__}: {error}")
    except Exception:
        result.problems.append(f"the run itself failed:\n{traceback.format_exc()}")
    finally:
        trace.close()
        loop.on_jump.clear()
        _close(loop)
        gc.enable()
    if new := [one for one in threading.enumerate() if one not in others]:
        result.problems.append(f"threads were started: {new}")
    result.problems += [f"logged as an error: {line}" for line in trace.errors]
    result.digest, result.log = trace.digest(), trace.text() if is_whole else ""
    result.virtual_seconds, result.seconds = loop.time(), time.process_time() - started
    return result


async def _run(plan: schedule.Schedule, trace: traces.Trace, loop: virtual_time.VirtualTimeLoop, result: Result, *, is_hasty: bool) -> None:
    chance = chances.Chance(plan.seed)
    of = system.System(_world(plan), chance, trace, overrides=plan.options)
    watcher = watch.Watch(of)
    loop.on_jump.append(watcher.look)
    if is_hasty:
        loop.on_jump.append(functools.partial(_stop_at_first, watcher, trace))
    clients = clients_module.Clients(of)
    hand = deeds_module.Deeds(of, plan, clients, trace, watcher)
    try:
        await of.start(apis=plan.apis, conductors=plan.conductors)
        before = invariants.snapshot(of.world)
        looks = scrutiny.Scrutiny(of, watcher)
        looks.reset = hand.asking.reset
        looking = process.spawn_outside(looks.observe(), "look at the records")
        hand.begin()
        await of.clock.sleep(plan.fault_seconds)
        looking.cancel()
        hand.calm()
        problem = await _rest(of, clients, watcher, hand)
        result.problems += [problem] if problem else []
        result.problems += watcher.problems
        found, result.story = await judge.judge(of, before, hand, watcher)
        result.problems += found
        result.ended = await of.store.read(_ended)
    finally:
        result.deaths, result.messages = of.deaths, of.bus.carried
        trace.close()
        loop.on_jump.clear()
        await of.end()


async def _rest(of: system.System, clients: clients_module.Clients, watcher: watch.Watch, hand: deeds_module.Deeds) -> str:
    """Wait until everything rests, and give up what would never end by itself; say what did not come to rest."""
    began = of.clock.monotonic()
    ask_again = began + _PATIENCE_SECONDS
    try:
        async with asyncio.timeout(_REST_SECONDS):
            # Some ask after the last fault, too: who judges in the middle of what they asked for would blame the product.
            while hand.asking.is_going_on or await of.store.read(_is_busy):
                await of.clock.sleep(2.0)
                if of.clock.monotonic() - began > _DELIVERY_SECONDS:
                    watcher.look_at_intents(await of.store.read(_asked))
                if of.clock.monotonic() > ask_again:
                    ask_again = of.clock.monotonic() + _PATIENCE_SECONDS
                    for name in await of.store.read(_running):
                        await clients.abort(name)
    except TimeoutError:
        return f"not at rest {_REST_SECONDS:g} s after the last fault"
    # Everybody is back, every host has told of all its guests, and what that made of the records is written. A host whose agent lost its
    # notes is refused until its predecessor counts as down.
    await of.until(lambda: _are_all_served(of), seconds=of.config.default.service_down_time_seconds + 60.0)
    # A changed configuration makes each tell at once; what then is asked again and again is told soon.
    of.reload(schedule.merged(of.overrides, {"agent": {"inventory_interval_seconds": _LAST_INTERVAL_SECONDS}}))
    await of.clock.sleep(2 * _LAST_INTERVAL_SECONDS + 2.0)
    try:
        await of.until(lambda: not _has_questions(of), seconds=_FORGETTING_SECONDS)
    except TimeoutError:
        return "a question's probes are not forgotten"
    # A resize may have been confirmed meanwhile, since its time was over.
    while await of.store.read(_is_busy):
        await of.clock.sleep(1.0)
    return ""


def _stop_at_first(watcher: watch.Watch, trace: traces.Trace) -> None:
    if found := [*watcher.problems, *trace.errors]:
        raise _Seen(found[0])


def _are_all_served(of: system.System) -> bool:
    """Whether each host has an agent that lacks nothing."""
    agents = of.of_kind("agent")
    return len(agents) == len(of.world.hosts) and all(part.agent is not None and not part.agent.lacks() for part in agents)


def _has_questions(of: system.System) -> bool:
    """Whether a host still has what a question left."""
    notes = (journal.Entry.model_validate_json(note) for _, note in of.journals())
    return any(note.is_question and note.probes and note.end is None for note in notes)


async def _is_busy(uow: uows.UnitOfWork) -> bool:
    open_ones = await uow.migrations.list(migrations.MigrationQuery(statuses=sorted(states.IN_PROGRESS - states.RESTING)))
    if open_ones or await uow.chores.list() or await uow.operations.operations_with_pending_intents():
        return True
    return bool(await uow.operations.list_open())


async def _running(uow: uows.UnitOfWork) -> list[str]:
    found = await uow.migrations.list(migrations.MigrationQuery(statuses=[states.Status.RUNNING]))
    return [one.instance_uuid for one in found]


async def _asked(uow: uows.UnitOfWork) -> list[str]:
    """Give the migrations under way whose abort was asked for long enough ago to have reached their source."""
    asked = []
    for operation_id in await uow.operations.operations_with_pending_intents():
        intents = await uow.operations.pending_intents(operation_id)
        of = await uow.operations.get(operation_id)
        if of.kind in operation.MIGRATING and any(
            one.kind is operation.IntentKind.ABORT and (uow.now - one.requested_at).total_seconds() > _DELIVERY_SECONDS for one in intents
        ):
            record = await uow.migrations.get_by_uuid(operation_id)
            asked += [operation_id] if record.status is states.Status.RUNNING else []
    return asked


async def _ended(uow: uows.UnitOfWork) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in await uow.migrations.list():
        name = f"{one.status.value} ({one.reason.slug})" if one.reason is not None else one.status.value
        counts[name] = counts.get(name, 0) + 1
    return counts


def _world(plan: schedule.Schedule) -> simulated.World:
    world = simulated.World(
        "simulation",
        clock=virtual_time.virtual_clock(),
        seed=plan.seed,
        call_seconds=plan.call_seconds,
        call_timeout_seconds=plan.call_timeout_seconds,
    )
    shared = world.add_store(simulated.Store("shared", has_locks=plan.shared_has_locks))
    for host in plan.hosts:
        world.add_host(
            host.name,
            stores={schedule.SHARED: shared, schedule.OWN: simulated.Store(f"{host.name}:own")},
            link_mib_per_s=host.link_mib_per_s,
            profile=profiles.PROFILES[host.profile],
            hypervisor_version=host.hypervisor_version,
        )
    for one in plan.guests:
        world.add_guest(
            one.host,
            one.name,
            state=guest.GuestState.PAUSED if one.is_paused else guest.GuestState.RUNNING,
            memory_mib=one.memory_mib,
            dirty_mib_per_s=one.dirty_mib_per_s,
            is_persistent=one.is_persistent,
            shutdown_seconds=one.shutdown_seconds,
            disks=one.disks,
        )
    return world


def _failing(result: Result) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def handler(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, asyncio.CancelledError):
            result.problems.append(f"the event loop was told: {context.get('message')}: {error!r}")

    return handler


def _close(loop: virtual_time.VirtualTimeLoop) -> None:
    """Throw away what is left of the run."""
    loop.set_exception_handler(lambda _loop, _context: None)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(Exception):
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
