# SPDX-License-Identifier: Apache-2.0
"""Runs a service from start to end: signals, reloading, the service manager. The same for every program; knows none of them."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import uvloop

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.cmd import notify
from wherry.telemetry import health as healths
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

T = TypeVar("T")

_ENDING = (signal.SIGTERM, signal.SIGINT)


class Service(Protocol):
    """What can be run."""

    config: configs.Config
    health: healths.Health

    async def start(self) -> str:
        """Start, however long it takes; gives a sentence to say then. Cancelled, what was started is stopped again."""

    async def stop(self) -> None:
        """End in order."""

    async def reload(self, config_files: Sequence[str]) -> configs.Reloaded:
        """Read configuration and policies again, and go on with what may change while a process runs.

        :raises ConfigInvalid: what is wrong with them; what could not be read is as it was.
        """

    async def broken(self) -> None:
        """Wait for ever, or until the service cannot go on.

        :raises Error: why.
        """


class MakeService(Protocol):
    """Makes what is to be run; called in its event loop."""

    def __call__(self, config: configs.Config) -> Service:
        """Make it.

        :raises ConfigInvalid: with this configuration it cannot work.
        """


def run(make: MakeService, config_files: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT, the second of which ends the process at once; SIGHUP has the configuration read again."""
    config = configs.load(config_files)
    logs.configure(config.default.log_format, is_debug=config.default.debug)
    return uvloop.run(_Run(make, config, config_files).serve())


def _spare_what_stays() -> None:
    """Have the garbage collector leave alone what was loaded and made until now, most of which stays as long as the process.

    Looking through it, 119,000 objects with an api and a conductor loaded, was measured to take 70 ms on a busy machine, each time.
    """
    gc.collect()
    gc.freeze()


class _Run:
    """One service's time."""

    def __init__(self, make: MakeService, config: configs.Config, config_files: Sequence[str]) -> None:
        self._make = make
        self._config = config
        self._config_files = config_files
        self._stopping, self._hangup = asyncio.Event(), asyncio.Event()
        self._notifier = notify.Notifier()

    async def serve(self) -> int:
        loop = asyncio.get_running_loop()
        # From the first moment on, for unhandled they would end the process.
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        for number in _ENDING:
            loop.add_signal_handler(number, self._on_ending)
        service = self._make(self._config)
        service.health.on_phase = self._notifier.status
        beside = [asyncio.create_task(one) for one in (self._keep_reloading(service), self._keep_watchdog())]
        try:
            said = await self._unless_stopping(service.start())
            if said is not None:
                _spare_what_stays()
                print(said, flush=True)
                self._notifier.ready(said)
                await self._unless_stopping(service.broken())
        finally:
            for task in beside:
                task.cancel()
            self._notifier.stopping()
            _log.info("The process ends; what is in progress is finished or left to others.", action="process.stopping")
            has_ended_in_order = await self._stop(service)
        return 0 if has_ended_in_order else 1

    def _on_ending(self) -> None:
        self._stopping.set()
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.remove_signal_handler(number)
            # The next one ends the process even where the loop is stuck.
            signal.signal(number, signal.SIG_DFL)

    async def _unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Give what comes of the work, or end it and give None when the process is to end first."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for one in (task, stopped):
                one.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    async def _stop(self, service: Service) -> bool:
        limit = service.config.default.stop_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                await service.stop()
        except TimeoutError:
            _log.error("The process ends although not all was put in order in time.", seconds=limit)
            return False
        except errors.Error as error:
            _log.error("The process ends although not all could be put in order.", **logs.told(error))
            return False
        return True

    async def _keep_watchdog(self) -> None:
        interval, clock = self._notifier.watchdog_interval_seconds, clocks.LoopClock()
        while interval is not None:
            self._notifier.alive()
            await clock.sleep(interval)

    async def _keep_reloading(self, service: Service) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            try:
                reloaded = await service.reload(self._config_files)
            except errors.Error as error:
                _log.error("The configuration cannot be read again.", slug=error.slug, error=error.message, remedy=error.remedy)
            else:
                changed, later = list(reloaded.changed), list(reloaded.needs_restart)
                _log.info("The configuration was read again.", changed=changed, needs_restart=later or None)
