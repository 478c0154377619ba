# SPDX-License-Identifier: Apache-2.0
"""What happens to a call on its way to a simulated hypervisor and back: it takes time, hangs, or fails as scripted."""

from __future__ import annotations

import asyncio
import dataclasses

from wherry import errors
from wherry.drivers.simulated import disturbances, faults, fleet, world


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One call of a driver's method."""

    method: str
    instance_uuid: str
    #: Whether it has had its effect and only the answer is to come.
    is_done: bool


def faults_of(fleet_world: world.World, here: fleet.Host, method: str, instance_uuid: str) -> list[faults.CallFault]:
    """Give the scripted faults that a call meets."""
    if not fleet_world.faults:
        return []
    local = here.guests.get(instance_uuid)
    names = (instance_uuid,) if local is None else (instance_uuid, local.spec.name)
    return fleet_world.faults.matching(method, here.name, names)


async def suffer(fleet_world: world.World, here: fleet.Host, fault: faults.CallFault, call: Call) -> None:
    """Let a call meet a fault, before or after its effect.

    :raises Error: the scripted one, or HypervisorUnavailable.
    """
    if (fault.when is faults.When.AFTER) is not call.is_done:
        return
    if fault.kind is faults.FaultKind.DELAY:
        await fleet_world.time.sleep(fault.seconds)
    elif fault.kind is faults.FaultKind.HANG:
        await fleet_world.time.sleep(fleet_world.call_timeout_seconds)
        raise _no_answer(fleet_world, here, call.method)
    elif fault.kind is faults.FaultKind.CRASH:
        disturbances.Disturbances(fleet_world).kill_daemon(here.name, back_after_seconds=fault.seconds or None)
        raise errors.HypervisorUnavailable(host=here.name, detail="the daemon died during the call")
    else:
        raise fault.error(here.name, call.method, call.instance_uuid)


async def wait_for_answer(fleet_world: world.World, here: fleet.Host, method: str) -> None:
    """Take the time that a call takes, and wait for a daemon that hangs.

    :raises HypervisorUnavailable: when the daemon is down, or hangs for longer than the call time-out.
    """
    fleet_world.time.now()
    if fleet_world.call_seconds:
        await fleet_world.time.sleep(fleet_world.call_seconds)
    if here.daemon is fleet.Daemon.SILENT:
        answered = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not answered.done():
                answered.set_result(None)

        here.waiters.append(wake)
        try:
            await asyncio.wait_for(answered, fleet_world.call_timeout_seconds / fleet_world.time.factor)
        except TimeoutError:
            raise _no_answer(fleet_world, here, method) from None
        finally:
            if wake in here.waiters:
                here.waiters.remove(wake)
    if here.daemon is fleet.Daemon.DOWN:
        raise errors.HypervisorUnavailable(host=here.name, detail="connection refused")


def _no_answer(fleet_world: world.World, here: fleet.Host, method: str) -> errors.HypervisorUnavailable:
    return errors.HypervisorUnavailable(host=here.name, detail=f"{method} had no answer for {fleet_world.call_timeout_seconds:g} s")
