# SPDX-License-Identifier: Apache-2.0
"""[DEFAULT]: who this process is and the limits that hold for the whole fleet.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import option as opt

#: Name of an availability zone: a colon would divide it from a host, a comma and an equals sign pairs of them.
ZONE = re.compile(r"[^:,=]{1,255}")
_HOST = opt.matching(r"[a-zA-Z0-9._-]{0,255}", "a name of at most 255 letters, digits, dots, dashes and underscores")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DefaultSection:
    """Options of [DEFAULT]."""

    SECTION: ClassVar[str] = "DEFAULT"
    ABOUT: ClassVar[str] = "Identity of this process, logging, and limits of the whole fleet."

    host: str = opt.option(
        "",
        "Name under which this process registers. An agent's hypervisor appears in the API under "
        "this name, so it must not change while servers run there.",
        constraint=_HOST,
        derived="this machine's host name",
    )
    state_path: str = opt.option(
        "/var/lib/wherry",
        "Directory for what a process must remember: the agent's journal, the SQLite file.",
    )
    debug: bool = opt.option(False, "Whether debug messages are logged too.", mutable=True)
    log_format: str = opt.option(
        "text",
        "How log lines are written: text for people, json with one object a line for collectors.",
        constraint=opt.one_of("text", "json"),
    )
    max_concurrent_live_migrations: int = opt.option(
        1,
        "How many live migrations may leave a host at the same time; the others wait in status queued. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="migrations",
        mutable=True,
    )
    max_concurrent_incoming_live_migrations: int = opt.option(
        2,
        "How many live migrations may enter a host at the same time; the others wait in status queued. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="migrations",
        mutable=True,
    )
    max_concurrent_live_migrations_cluster: int = opt.option(
        0,
        "How many live migrations may run in the whole fleet at the same time. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="migrations",
        mutable=True,
    )
    migrate_max_retries: int = opt.option(
        -1,
        "How many further destinations are tried after the first one fails its checks. -1 means every candidate, 0 means only the first.",
        constraint=opt.at_least(-1),
        unit="destinations",
        mutable=True,
    )
    default_availability_zone: str = opt.option(
        "nova",
        "Availability zone of hosts for which [agent] availability_zones names none.",
        constraint=opt.matching(ZONE.pattern, "a name of 1 to 255 characters without a colon, a comma or an equals sign"),
    )
    report_interval_seconds: float = opt.option(
        10.0,
        "How often an agent or conductor reports that it is alive.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    service_down_time_seconds: float = opt.option(
        60.0,
        "Silence after which a service is shown as down and no longer chosen as a destination.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    forget_silent_seconds: float = opt.option(
        86400.0,
        "How long `wherry status` goes on listing an api that ended without a word, as one that needs attention.",
        constraint=opt.at_least(1),
        unit="seconds",
    )
    long_rpc_timeout: int = opt.option(
        1800,
        "Longest time that an agent spends on one check before it gives up; a conductor waits [bus] rpc_response_timeout_seconds for it.",
        constraint=opt.at_least(1),
        unit="seconds",
    )
    cpu_allocation_ratio: float = opt.option(
        4.0,
        "Virtual CPUs that may be placed on a host for each CPU it has.",
        constraint=opt.at_least(0.01),
        mutable=True,
    )
    ram_allocation_ratio: float = opt.option(
        1.0,
        "Guest memory that may be placed on a host for each byte it has, reserved memory subtracted.",
        constraint=opt.at_least(0.01),
        mutable=True,
    )
    reserved_host_memory_mb: int = opt.option(
        512,
        "Memory of each host that is kept for the host itself.",
        constraint=opt.at_least(0),
        unit="MiB",
        mutable=True,
    )

    start_retry_initial_seconds: float = opt.option(
        0.5,
        "Pause before a starting process asks again for a database that is away; each further one is twice as long.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    start_retry_max_seconds: float = opt.option(
        5.0,
        "Longest pause between two such tries. A process that starts never gives up.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    stop_timeout_seconds: float = opt.option(
        60.0,
        "Longest time that a process takes to end in order; then it ends at once. What is in progress is taken up by another process, "
        "or by the next one.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    resize_confirm_window: int = opt.option(
        0,
        "How long after a cold migration or resize it is confirmed by itself, unless somebody was first. 0 means never.",
        constraint=opt.at_least(0),
        unit="seconds",
        mutable=True,
    )
    allow_resize_to_same_host: bool = opt.option(
        False,
        "Whether a resize may leave a server on its host: that host is then a candidate like the others.",
        mutable=True,
    )

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        if self.service_down_time_seconds <= self.report_interval_seconds:
            yield (
                "[DEFAULT] service_down_time_seconds must be greater than report_interval_seconds "
                f"({self.report_interval_seconds:g}), otherwise every service looks down between "
                "two reports; three times as much is usual"
            )
        if self.start_retry_initial_seconds > self.start_retry_max_seconds:
            yield f"[DEFAULT] start_retry_initial_seconds must not exceed start_retry_max_seconds ({self.start_retry_max_seconds:g})"
