# SPDX-License-Identifier: Apache-2.0
"""What a driver's author supplies so that the contract suite can try the driver: guests, faults, and a view past the driver.

Asks nothing of how the hypervisor does it. Faults are made behind the driver's back, never through its own methods.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from wherry import clock as wherry_clock
from wherry.drivers import base
from wherry.model import capabilities, image, migration

T = TypeVar("T")


class Load(enum.StrEnum):
    """What a guest does to its memory."""

    #: Nothing to speak of: a transfer without a limit ends within seconds.
    IDLE = "idle"
    #: Rewrites it faster than `Harness.slow_mib_per_s`, slower than a transfer without a limit.
    DIRTYING = "dirtying"


class Storage(enum.StrEnum):
    """What disk a guest has: at most one, writable, small, its cache mode safe to move."""

    NONE = "none"
    #: In a directory that both hosts see at the same path.
    SHARED = "shared"
    #: In a directory that each host has for itself at the same path.
    PRIVATE = "private"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestWish:
    """A guest that a test wants at the source."""

    load: Load = Load.IDLE
    storage: Storage = Storage.NONE
    #: Paused by somebody, before the migration is thought of.
    is_paused: bool = False


class OpenedPair(abc.ABC):
    """Two hosts with a driver opened for each, and waiting with a limit: what the tests stand on."""

    #: Settings of the two hosts, as an agent would be given them.
    source: base.HostSettings
    destination: base.HostSettings
    #: What the hypervisors can do, written down by hand: the suite holds the driver to it.
    capabilities: capabilities.DriverCapabilities
    clock: wherry_clock.Clock
    #: Longest wait for one thing that must happen, in seconds; also for a call to a hypervisor that does not answer.
    timeout_seconds: float = 60.0
    #: Pause between two looks at a thing that must happen.
    poll_seconds: float = 0.05
    #: Bandwidth at which the copy of a DIRTYING guest never ends and that of any guest takes seconds, in MiB a second.
    slow_mib_per_s: int
    #: Longest time between the loss of the reply that ends a migration and the source's coming to terms with it.
    lost_reply_seconds: float = 45.0

    def __init__(self) -> None:
        self._opened: dict[str, base.HypervisorDriver] = {}

    @abc.abstractmethod
    def new_driver(self, settings: base.HostSettings) -> base.HypervisorDriver:
        """Make a driver object for one of the hosts, not opened. Whoever asks closes it."""

    @abc.abstractmethod
    async def clean(self) -> None:
        """End every fault, destroy every guest of this harness on both hosts, and delete what it or a test put into directories."""

    async def open(self) -> None:
        """Open a driver for each host."""
        for settings in (self.source, self.destination):
            driver = self.new_driver(settings)
            self._opened[settings.name] = driver
            await driver.open()

    async def close(self) -> None:
        """Clean, then close the drivers."""
        try:
            await self.clean()
        finally:
            for driver in self._opened.values():
                await driver.close()
            self._opened.clear()

    @property
    def source_driver(self) -> base.HypervisorDriver:
        """The driver of the source."""
        return self._opened[self.source.name]

    @property
    def destination_driver(self) -> base.HypervisorDriver:
        """The driver of the destination."""
        return self._opened[self.destination.name]

    async def wait_for(
        self, read: Callable[[], Awaitable[T]], is_met: Callable[[T], bool], what: str, *, seconds: float | None = None
    ) -> T:
        """Read again and again until `is_met`, and give what was read; AssertionError with the last reading when it takes too long."""
        limit = self.timeout_seconds if seconds is None else seconds
        end = self.clock.monotonic() + limit
        while True:
            reading = await read()
            if is_met(reading):
                return reading
            if self.clock.monotonic() > end:
                raise AssertionError(f"not within {limit:g} s: {what}; last seen: {reading!r}")
            await self.clock.sleep(self.poll_seconds)


class Harness(OpenedPair):
    """Two hosts, `source` and `destination`, that can migrate to each other, and the means to disturb them.

    A binding makes one for each test, in a fixture named `harness`, on the test's event loop; the hosts below it may be shared by all
    tests as long as `clean` leaves no guest and no fault behind. `open` and `close` are called by that fixture.
    """

    @abc.abstractmethod
    async def create_guest(self, wish: GuestWish) -> str:
        """Start a persistent guest at the source, with a new uuid and name, wait until its load is at work, and give the uuid."""

    @abc.abstractmethod
    async def snapshot(self, settings: base.HostSettings) -> Any:
        """Give anything that compares equal as long as guests, definitions, storage pools and files of the host are the same.

        Sizes, counters and times stay out of it. Read behind the driver's back.
        """

    @abc.abstractmethod
    async def files(self, settings: base.HostSettings) -> frozenset[str]:
        """Give the paths of the files in the guests' private directory of the host."""

    @abc.abstractmethod
    async def place_file(self, settings: base.HostSettings) -> str:
        """Put somebody else's file into that directory and give its path."""

    @abc.abstractmethod
    async def image(self) -> tuple[image.Image, str]:
        """Give an image of at most a GiB that guests can be made from, and the file with its bytes. Guests are made in that directory."""

    @abc.abstractmethod
    async def start_and_kill_client(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        """Start the transfer from a client that is killed as soon as the copy is under way: nothing of it gets to close anything.

        A separate process under SIGKILL where the hypervisor is real.
        """

    @abc.abstractmethod
    async def kill_daemon(self, settings: base.HostSettings) -> None:
        """Kill the hypervisor's management daemon; its guests live on. It stays away until `start_daemon`."""

    @abc.abstractmethod
    async def start_daemon(self, settings: base.HostSettings) -> None:
        """Start the daemon again, and return when it answers. A running one is fine."""

    @abc.abstractmethod
    async def stop_daemon(self, settings: base.HostSettings) -> None:
        """Let the daemon hang: it accepts calls and answers none."""

    @abc.abstractmethod
    async def continue_daemon(self, settings: base.HostSettings) -> None:
        """End that. One that does not hang is fine."""

    @abc.abstractmethod
    async def destroy_guest(self, settings: base.HostSettings, instance_uuid: str) -> None:
        """Destroy the guest as somebody else would."""

    @abc.abstractmethod
    async def pause_guest(self, settings: base.HostSettings, instance_uuid: str) -> None:
        """Pause the guest as somebody else would."""

    @abc.abstractmethod
    async def resume_guest(self, settings: base.HostSettings, instance_uuid: str) -> None:
        """Resume the guest as somebody else would."""

    @abc.abstractmethod
    async def cut_link(self) -> None:
        """Cut the network that memory crosses; the daemons still reach each other, where that can be had."""

    @abc.abstractmethod
    async def restore_link(self) -> None:
        """Mend it. One that is whole is fine."""

    @abc.abstractmethod
    async def break_post_copy(self, instance_uuid: str) -> None:
        """Break the connection of the guest's transfer, which is in post-copy, for good."""

    @abc.abstractmethod
    async def lose_closing_reply(self, instance_uuid: str) -> None:
        """See to it that the destination's word that the guest has arrived never reaches the source's daemon.

        Called while the copy is under way; arms itself and returns. Undone by `clean`, or earlier by the binding once the reply is lost.
        """


class Recorder:
    """Takes down what a driver says it is about to create, as an agent's journal does."""

    def __init__(self, files: Callable[[], Awaitable[Collection[str]]]) -> None:
        #: Everything named so far.
        self.named: set[str] = set()
        #: Files that the host had when something was first named.
        self.files_before: frozenset[str] | None = None
        self._files = files

    async def record(self, name: str) -> None:
        """Be the `record_created` of a task."""
        if self.files_before is None:
            self.files_before = frozenset(await self._files())
        self.named.add(name)

    def forget_before(self) -> None:
        """Look at the files again when the next thing is named."""
        self.files_before = None
