# SPDX-License-Identifier: Apache-2.0
"""[bus]: how the processes reach one another.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BusSection:
    """Options of [bus]."""

    SECTION: ClassVar[str] = "bus"
    ABOUT: ClassVar[str] = "Messages between api, conductor and agents."

    rpc_response_timeout_seconds: float = opt.option(
        60.0,
        "Longest wait for the answer to an ordinary call.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    max_message_bytes: int = opt.option(
        900_000,
        "Largest message that is sent; lists are split below it. NATS refuses 1 MiB by default.",
        constraint=opt.at_least(65536),
        unit="bytes",
    )

    max_concurrent_messages: int = opt.option(
        20_000,
        "Messages that a process works on at the same time, blocking requests among them; further ones are refused at once.",
        constraint=opt.at_least(10),
        unit="messages",
    )
    drain_timeout_seconds: float = opt.option(
        10.0,
        "Longest wait at shutdown for messages that are being worked on.",
        constraint=opt.at_least(0),
        unit="seconds",
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
