# SPDX-License-Identifier: Apache-2.0
"""[conductor]: leases, sweeps and retries of the process that drives migrations.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConductorSection:
    """Options of [conductor]."""

    SECTION: ClassVar[str] = "conductor"
    ABOUT: ClassVar[str] = "The process that drives every migration to its end."

    lease_seconds: float = opt.option(
        4.0,
        "How long a conductor may go on commanding after it last renewed its lease; after that another takes its migrations over.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    lease_renew_interval_seconds: float = opt.option(
        1.0,
        "How often a conductor renews its lease.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    sweep_interval_seconds: float = opt.option(
        0.5,
        "How often a conductor looks for migrations that nobody drives, and for aborts and force-completes to send (again). "
        "A take-over takes at most lease_seconds and this.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    check_ttl_seconds: float = opt.option(
        30.0,
        "Age after which the checks are run again when a migration leaves the queue.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    max_concurrent_checks: int = opt.option(
        64,
        "Live migrations that a conductor checks at one time; others wait as accepted, first come, first served. Requests below "
        "microversion 2.34, which are answered after the checks, do not wait. 0 holds them all: requests go on being accepted, none begins "
        "until this is raised, which a running conductor takes over on SIGHUP.",
        constraint=opt.at_least(0),
        unit="migrations",
    )
    busy_turn_seconds: float = opt.option(
        0.02,
        "A conductor whose event loop takes longer than this to go round checks fewer migrations at a time, down to four, so that requests "
        "to the API that shares it, and messages, are answered meanwhile.",
        constraint=opt.at_least(0.001),
        unit="seconds",
    )
    step_retry_limit: int = opt.option(
        5,
        "How many times a step that failed for a passing reason is run again.",
        constraint=opt.at_least(0),
        unit="attempts",
    )
    step_retry_initial_seconds: float = opt.option(
        0.2,
        "Pause before the first repetition of a step; each further one is twice as long.",
        constraint=opt.at_least(0.001),
        unit="seconds",
    )
    step_retry_max_seconds: float = opt.option(
        10.0,
        "Longest pause between two repetitions of a step.",
        constraint=opt.at_least(0.001),
        unit="seconds",
    )
    queue_poll_interval_seconds: float = opt.option(
        1.0,
        "How often a conductor looks which queued migrations may start; normally the migration that frees a slot has it look.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    heartbeat_flush_interval_seconds: float = opt.option(
        0.2,
        "How long signs of life are gathered, to be stored together.",
        constraint=opt.at_least(0.001, 5.0),
        unit="seconds",
    )
    inventory_flush_interval_seconds: float = opt.option(
        0.2,
        "How long reports of single guests are gathered, so that those which say nothing new are noted together.",
        constraint=opt.at_least(0.001, 5.0),
        unit="seconds",
    )
    progress_flush_interval_seconds: float = opt.option(
        1.0,
        "How often the counters of running migrations are written, all together; how often each is reported is the agents' matter.",
        constraint=opt.at_least(0.05),
        unit="seconds",
    )
    contradiction_grace_seconds: float = opt.option(
        15.0,
        "How long both hosts may show a guest as running, while its source is being suspended, before it is called a conflict.",
        constraint=opt.at_least(1),
        unit="seconds",
    )
    feasibility_max_hosts: int = opt.option(
        16,
        "Most hosts whose hypervisors are asked by one os-checkMigrateLive, the best first; further ones are judged by their records only.",
        constraint=opt.at_least(1),
        unit="hosts",
    )
    feasibility_max_concurrent: int = opt.option(
        8,
        "Requests os-checkMigrateLive that a conductor works on at one time; others wait, first come, first served, so that those who ask "
        "much delay one another and nobody else.",
        constraint=opt.at_least(1),
        unit="requests",
    )
    agent_silence_seconds: float = opt.option(
        15.0,
        "Silence about a running migration after which its agents are asked what became of it.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    chore_retry_interval_seconds: float = opt.option(
        60.0,
        "How often cleaning that is owed to a host that was away is tried again.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )

    shutdown_timeout_seconds: float = opt.option(
        60.0,
        "How long a guest that is to be stopped may take to shut itself down before it is powered off; 0 powers it off at once.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    soft_reboot_timeout_seconds: float = opt.option(
        120.0,
        "How long a guest that is to be rebooted softly may take to shut itself down before its power is taken; 0 takes it at once.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    shutdown_retry_interval_seconds: float = opt.option(
        10.0,
        "How often a guest is asked again meanwhile, since some heed only the second call.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    shutdown_poll_interval_seconds: float = opt.option(
        1.0,
        "How often it is looked whether the guest is off.",
        constraint=opt.at_least(0.05),
        unit="seconds",
    )

    move_poll_interval_seconds: float = opt.option(
        2.0,
        "How often the source of a cold migration is asked how much of the disks it has sent.",
        constraint=opt.at_least(0.01, 30.0),
        unit="seconds",
    )
    confirm_sweep_interval_seconds: float = opt.option(
        30.0,
        "How often it is looked for resized servers whose resize_confirm_window is over.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    confirm_retry_max_seconds: float = opt.option(
        86400.0,
        "Longest pause before a confirmation that was refused is tried again by itself. The pause is resize_confirm_window, doubled with "
        "each refusal, and never shorter than that.",
        constraint=opt.at_least(1),
        unit="seconds",
    )

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        if self.lease_renew_interval_seconds * 2 > self.lease_seconds:
            yield (
                "[conductor] lease_renew_interval_seconds must be at most half of lease_seconds "
                f"({self.lease_seconds:g}), so that one lost renewal does not lose the lease"
            )
        if self.step_retry_initial_seconds > self.step_retry_max_seconds:
            yield (f"[conductor] step_retry_initial_seconds must not exceed step_retry_max_seconds ({self.step_retry_max_seconds:g})")
