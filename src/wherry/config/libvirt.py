# SPDX-License-Identifier: Apache-2.0
"""[libvirt]: how libvirt is reached and how it moves guests.

The live_migration_* options have Nova's names, defaults and meaning, so that an operator's file
can be carried over. Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import libvirt_guests
from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LibvirtSection(libvirt_guests.LibvirtGuestOptions):
    """Options of [libvirt]."""

    SECTION: ClassVar[str] = "libvirt"
    ABOUT: ClassVar[str] = "The libvirt driver: connections, and how guests are moved."

    connection_uri: str = opt.option(
        "qemu:///system",
        "URI of the hypervisor when [agent] hosts is empty.",
        constraint=opt.matching(r"[a-z][a-z0-9+]*://.*", "a libvirt connection URI"),
    )
    live_migration_completion_timeout: int = opt.option(
        800,
        "Time a migration may take from the start of the transfer, for each GiB of memory and "
        "copied disk (each of them counted as at least 2 GiB). 0 means no limit. A new value "
        "applies to running migrations whose request named no timeout.",
        constraint=opt.at_least(0),
        unit="seconds per GiB",
        mutable=True,
    )
    live_migration_timeout_action: str = opt.option(
        "abort",
        "What happens when that time is over: abort leaves the guest at the source; "
        "force_complete switches to post-copy where permitted, otherwise pauses the guest.",
        constraint=opt.one_of("abort", "force_complete"),
        mutable=True,
    )
    live_migration_downtime: int = opt.option(
        500,
        "Longest pause of the guest that the hypervisor may plan for the switch-over.",
        constraint=opt.at_least(100),
        unit="milliseconds",
    )
    live_migration_downtime_steps: int = opt.option(
        10,
        "Steps in which the permitted pause grows to live_migration_downtime.",
        constraint=opt.at_least(3),
        unit="steps",
    )
    live_migration_downtime_delay: int = opt.option(
        75,
        "Time between two of these steps, for each GiB of memory and copied disk.",
        constraint=opt.at_least(3),
        unit="seconds per GiB",
    )
    live_migration_permit_post_copy: bool = opt.option(
        False,
        "Whether a migration that is forced to complete, by request or by its timeout, may switch "
        "to post-copy. A network failure after the switch stops the guest until it is resumed. A change holds for migrations that start "
        "after it. What the agent of the source is configured with is what counts.",
        mutable=True,
    )
    live_migration_permit_auto_converge: bool = opt.option(
        False,
        "Whether the hypervisor may slow a guest down that changes its memory faster than it can "
        "be sent. Not used where post-copy is permitted and available.",
    )
    live_migration_bandwidth: int = opt.option(
        0,
        "Most bandwidth that one migration may use. 0 means the hypervisor's default.",
        constraint=opt.at_least(0),
        unit="MiB/s",
    )
    live_migration_postcopy_bandwidth: int = opt.option(
        0,
        "Most bandwidth of one migration after the switch to post-copy. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="MiB/s",
    )
    live_migration_parallel_connections: int = opt.option(
        1,
        "Connections over which one migration sends memory. More than one together with "
        "live_migration_permit_post_copy needs QEMU 10.1 or later, which the driver checks.",
        constraint=opt.at_least(1),
        unit="connections",
    )
    live_migration_tunnelled: bool = opt.option(
        False,
        "Whether memory is sent through the connection between the two libvirt daemons. "
        "Deprecated: slow, and without block migration; live_migration_with_native_tls encrypts "
        "better.",
    )
    live_migration_with_native_tls: bool = opt.option(
        False,
        "Whether QEMU encrypts memory and disks itself. Both hosts need its certificates.",
    )
    live_migration_inbound_addr: str | None = opt.option(
        None,
        "Address or name at which this host receives migrations. Nothing: its host name.",
        constraint=opt.matching(r"[^\s/]*", "an address or host name, without a scheme or a path"),
    )
    live_migration_scheme: str | None = opt.option(
        None,
        "Transport between the libvirt daemons, as in qemu+SCHEME://HOST/system. Nothing: tcp.",
        constraint=opt.matching(r"[a-z][a-z0-9]*|", "a transport such as tcp, tls or ssh"),
    )
    live_migration_uri: str | None = opt.option(
        None,
        "Whole URI of a destination's libvirt, with %s where its address goes. Deprecated: use "
        "live_migration_scheme and live_migration_inbound_addr.",
        constraint=opt.matching(r"([^%]*%s[^%]*)?", "a URI that contains %s once"),
    )
    live_migration_monitor_interval: int = opt.option(
        5,
        "How often the progress of one migration is stored at most.",
        constraint=opt.at_least(1),
        unit="seconds",
    )
    live_migration_max_pause_seconds: float = opt.option(
        0.0,
        "Longest time a guest may stay paused because its migration is forced to complete by a "
        "pause. The pause is estimated first; when it cannot hold, the migration is aborted and "
        "the guest runs on at the source. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="seconds",
        mutable=True,
    )
    live_migration_max_post_copy_seconds: float = opt.option(
        0.0,
        "Longest time the rest of the memory may take after a switch to post-copy, by the measured bandwidth. When it cannot hold, "
        "the migration is aborted instead and the guest runs on at the source. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="seconds",
        mutable=True,
    )
    live_migration_post_copy_idle_seconds: float = opt.option(
        2.0,
        "A switch to post-copy waits while nothing has been sent for this long.",
        constraint=opt.at_least(0.2),
        unit="seconds",
        mutable=True,
    )
    live_migration_post_copy_stuck_seconds: float = opt.option(
        30.0,
        "When the source of a broken post-copy has refused for this long to resume it, and sent nothing, the hypervisor is told of the "
        "break, which it had not noticed; nothing is lost by that. 0 means never.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    live_migration_poll_interval_seconds: float = opt.option(
        0.5,
        "How often a running migration is looked at.",
        constraint=opt.at_least(0.05),
        unit="seconds",
    )
    keepalive_interval_seconds: int = opt.option(
        5,
        "Silence on a connection after which libvirt is asked for a sign of life.",
        constraint=opt.at_least(1),
        unit="seconds",
    )
    keepalive_count: int = opt.option(
        5,
        "Unanswered questions after which a connection counts as broken; that is after keepalive_interval_seconds x (keepalive_count + 1).",
        constraint=opt.at_least(1),
        unit="questions",
    )
    open_timeout_seconds: float = opt.option(
        10.0,
        "Longest wait for a connection to libvirt.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    call_timeout_seconds: float = opt.option(
        30.0,
        "Longest wait for an ordinary libvirt call; a migration itself is not bounded by it.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    max_worker_threads: int = opt.option(
        0,
        "Most threads for each host in which libvirt calls wait: one for each of max_control_connections, one for watching, and one for "
        "each migration that leaves the host. 0 means twice as many for migrations as [DEFAULT] max_concurrent_live_migrations admits "
        "(at least 9), since a call may hang on for a while after its migration has ended, and no limit where that is 0.",
        constraint=opt.at_least(0),
        unit="threads",
    )
    max_control_connections: int = opt.option(
        6,
        "Connections to one host that carry calls other than migrations, each one call at a time; opened when needed. "
        "A call that hangs keeps one of them until it ends.",
        constraint=opt.at_least(2),
        unit="connections",
    )
    reconnect_initial_seconds: float = opt.option(
        0.2,
        "Pause before a lost connection to libvirt is tried again; each further one is twice as long.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    reconnect_max_seconds: float = opt.option(
        10.0,
        "Longest pause between two tries to reach libvirt.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    disk_size_max_age_seconds: float = opt.option(
        300.0,
        "How old the sizes of disks in an inventory may be: asking QEMU for them takes longer than all else about a guest. "
        "A migration asks anew.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    close_timeout_seconds: float = opt.option(
        1.0,
        "Longest wait for connections to close when an agent stops.",
        constraint=opt.at_least(0.0),
        unit="seconds",
    )
    start_poll_interval_seconds: float = opt.option(
        0.01,
        "How often a migration that was just begun is looked at until it copies.",
        constraint=opt.at_least(0.001),
        unit="seconds",
    )
    start_wait_seconds: float = opt.option(
        10.0,
        "How long a migration may take to begin copying before it counts as started anyway. Until then a "
        "refusal of the destination is told as such.",
        constraint=opt.at_least(0.0),
        unit="seconds",
    )
    reachability_timeout_seconds: float = opt.option(
        5.0,
        "Longest wait of the checks for the source to reach the destination.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        if (self.cpu_mode == "custom") is not bool(self.cpu_model):
            yield "[libvirt] cpu_mode = custom and cpu_model go together; set both, or neither"
        if 0 < self.max_worker_threads < self.max_control_connections + 2:
            yield (
                "[libvirt] max_worker_threads leaves no thread for a migration; set it to 0 or at least "
                f"{self.max_control_connections + 2}, or max_control_connections lower"
            )
        if self.reconnect_initial_seconds > self.reconnect_max_seconds:
            yield f"[libvirt] reconnect_initial_seconds must not exceed reconnect_max_seconds ({self.reconnect_max_seconds:g})"
        if not self.live_migration_tunnelled:
            return
        if self.live_migration_with_native_tls:
            yield (
                "[libvirt] live_migration_tunnelled and live_migration_with_native_tls exclude "
                "each other; set live_migration_tunnelled = false"
            )
        if self.live_migration_permit_post_copy:
            instead = "set live_migration_tunnelled = false or live_migration_permit_post_copy = false"
            yield f"[libvirt] libvirt has no post-copy through a tunnel; {instead}"
