# SPDX-License-Identifier: Apache-2.0
"""What a process knows of the parts that it runs: what they lack, and when one cannot go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wherry.telemetry import health

if TYPE_CHECKING:
    from wherry.agent import service as agent_service
    from wherry.conductor import service as conductor_service


async def conductor_lacks(conductor: conductor_service.Conductor) -> Iterable[health.Lack]:
    """Say that a conductor whose lease has run out drives nothing."""
    if conductor.orchestrator.may_command:
        return ()
    return (health.Lack(what="lease", reason="the lease has run out; others take the migrations over until it can be renewed"),)


async def agent_lacks(agent: agent_service.Agent) -> Iterable[health.Lack]:
    """Say what keeps an agent from serving its host."""
    return agent.lacks()


async def any_refused(agents: Sequence[agent_service.Agent]) -> None:
    """Wait for ever, or until a conductor refuses one of the hosts.

    :raises HostRefused: then.
    """
    waiting = [asyncio.create_task(agent.refused()) for agent in agents]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waiting:
            task.cancel()
