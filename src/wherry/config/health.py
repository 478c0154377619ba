# SPDX-License-Identifier: Apache-2.0
"""[health]: where each process answers whether it lives, whether it is ready, and what it has counted.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import option as opt

_PORT = opt.at_least(0, 65535)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HealthSection:
    """Options of [health]."""

    SECTION: ClassVar[str] = "health"
    ABOUT: ClassVar[str] = (
        "Where each process answers GET /healthz/live, /healthz/ready and /metrics, without a log-in. "
        "The api answers the first two on its own port as well."
    )

    bind_host: str = opt.option(
        "127.0.0.1",
        "Address to listen on. What is answered there is for everybody who reaches it.",
        constraint=opt.matching(r".+", "an address or host name of this machine"),
    )
    api_port: int | None = opt.option(
        None, "TCP port of an api process, or of all-in-one. 0 lets the system choose one, which is then logged.", constraint=_PORT
    )
    conductor_port: int | None = opt.option(
        None, "TCP port of a conductor process. 0 lets the system choose one, which is then logged.", constraint=_PORT
    )
    agent_port: int | None = opt.option(
        None, "TCP port of an agent process. 0 lets the system choose one, which is then logged.", constraint=_PORT
    )
    probe_timeout_seconds: float = opt.option(
        2.0,
        "How long the database may take to answer before a process calls itself not ready.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        ports = {"api_port": self.api_port, "conductor_port": self.conductor_port, "agent_port": self.agent_port}
        given = [port for port in ports.values() if port]
        if len(given) != len(set(given)):
            yield "[health] api_port, conductor_port and agent_port must differ, so that the three can run on one machine"
