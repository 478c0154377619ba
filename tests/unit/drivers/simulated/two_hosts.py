# SPDX-License-Identifier: Apache-2.0
"""Two simulated hosts and a migration between them, for the unit tests of this directory."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from wherry import clock as wherry_clock
from wherry.drivers import base, simulated
from wherry.model import guest, migration, progress
from wherry.testing import virtual_time

MIB = 1 << 20


class TwoHosts:
    """Hosts a and b (and more on demand) with links of 100 MiB a second and no latency, so that times are round."""

    def __init__(self, **world_fields: Any) -> None:
        self.clock = virtual_time.virtual_clock()
        self.world = simulated.World("unit", clock=self.clock, **world_fields)
        self.hand = simulated.Disturbances(self.world)
        self.drivers: dict[str, simulated.SimulatedDriver] = {}
        self.created: list[str] = []
        for name in ("a", "b"):
            self.add_host(name)

    @classmethod
    async def of(cls, world: simulated.World, clock: wherry_clock.LoopClock) -> TwoHosts:
        """Take the first two hosts of another world for a and b, opened."""
        hosts = cls()
        hosts.clock, hosts.world, hosts.hand = clock, world, simulated.Disturbances(world)
        settings = [base.HostSettings(name=name, connection_uri=world.uri(name)) for name in world.hosts]
        hosts.drivers = {name: simulated.SimulatedDriver(world, one) for name, one in zip("ab", settings, strict=False)}
        return await hosts.open()

    def add_host(self, name: str, **fields: Any) -> simulated.SimulatedDriver:
        self.world.add_host(name, **{"link_mib_per_s": 100, "latency_seconds": 0.0} | fields)
        settings = base.HostSettings(name=name, connection_uri=self.world.uri(name))
        self.drivers[name] = simulated.SimulatedDriver(self.world, settings)
        return self.drivers[name]

    async def open(self) -> TwoHosts:
        for driver in self.drivers.values():
            await driver.open()
        return self

    def task(self, instance_uuid: str, operation_id: str = "operation") -> base.Task:
        async def record(name: str) -> None:
            self.created.append(name)

        return base.Task(operation_id=operation_id, instance_uuid=instance_uuid, record_created=record, created=frozenset(self.created))

    async def check(
        self,
        instance_uuid: str,
        *,
        request: migration.LiveMigrationRequest | None = None,
        source: str = "a",
        destination: str = "b",
    ) -> migration.Plan:
        """Run both checks and give the plan."""
        wanted = request or migration.LiveMigrationRequest()
        task = self.task(instance_uuid, f"operation-{instance_uuid}")
        (leaving,) = await self.drivers[source].describe_guests([instance_uuid])
        described = await self.drivers[source].describe_host()
        facts = await self.drivers[destination].check_destination(task, leaving, wanted, described)
        try:
            storage = await self.drivers[source].check_source(task, leaving, wanted, facts)
        finally:
            await self.drivers[destination].release_check(task, facts.probes)
        return migration.Plan(source=source, destination=destination, guest=leaving, facts=facts, storage=storage)

    async def start(
        self,
        instance_uuid: str,
        *,
        source: str = "a",
        destination: str = "b",
        downtime_ms: int = 1,
        bandwidth_mib_per_s: int = 0,
        permit_post_copy: bool = False,
    ) -> migration.Plan:
        """Check, prepare and start."""
        plan = await self.check(instance_uuid, source=source, destination=destination)
        task = self.task(instance_uuid, f"operation-{instance_uuid}")
        await self.drivers[destination].prepare_destination(task, plan)
        options = base.TransferOptions(downtime_ms=downtime_ms, bandwidth_mib_per_s=bandwidth_mib_per_s, permit_post_copy=permit_post_copy)
        await self.drivers[source].start_transfer(task, plan, options)
        return plan

    async def read(self, instance_uuid: str, host: str = "a") -> base.Transfer:
        return await self.drivers[host].read_transfer(instance_uuid)

    async def counters(self, instance_uuid: str, host: str = "a") -> progress.Progress:
        counters = (await self.read(instance_uuid, host)).progress
        assert counters is not None
        return counters

    async def states(self, instance_uuid: str) -> tuple[guest.GuestState, guest.GuestState]:
        """Give what a and b say of the guest."""
        seen = [await self.drivers[name].observe_guest(instance_uuid) for name in ("a", "b")]
        return seen[0].state, seen[1].state

    async def until_ended(self, instance_uuid: str, host: str = "a", limit_seconds: float = 10_000) -> float:
        """Wait for the end of the transfer and give its time, exact to the signal."""
        ended: list[float] = []

        def receive(signal: base.Signal) -> None:
            if signal.kind is base.SignalKind.TRANSFER_ENDED and signal.instance_uuid == instance_uuid:
                ended.append(self.clock.monotonic())

        unsubscribe = self.drivers[host].subscribe(receive)
        while not ended and self.clock.monotonic() < limit_seconds:
            await self.clock.sleep(0.5)
        unsubscribe()
        assert ended, f"still under way after {limit_seconds} s"
        return ended[0]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body on virtual time."""
    virtual_time.run_virtual(test(), limit_seconds=100_000)
