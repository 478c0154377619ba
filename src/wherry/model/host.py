# SPDX-License-Identifier: Apache-2.0
"""Hosts: what an agent reports of its hypervisor, and the record kept of it.

Decides nothing about migrations; the scheduler's filters read these records.
"""

from __future__ import annotations

import dataclasses
import datetime

from wherry.model.capabilities import NONE, DriverCapabilities
from wherry.model.deadline import TimeoutAction


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SendingRules:
    """What a source goes by where a request does not say, as its agent is configured."""

    #: Whether transfers are started so that they can switch to post-copy.
    permits_post_copy: bool
    #: What is done at the deadline.
    timeout_action: TimeoutAction
    #: Seconds for each GiB until then; 0 = no deadline.
    timeout_seconds_per_gib: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostDescription:
    """What a driver says of its host; reported at registration and with each inventory."""

    #: The hypervisor's own UUID: two names for one UUID are refused.
    hypervisor_uuid: str
    #: The hypervisor's host name.
    hypervisor_hostname: str
    #: "QEMU", as Nova shows it.
    hypervisor_type: str
    #: Version as one number, major * 1,000,000 + minor * 1,000 + release, as Nova shows it.
    hypervisor_version: int
    #: Version of the management layer (libvirt), in the same form; 0 where there is none.
    manager_version: int = 0
    #: IP address of the host, for people to see; empty where none is known.
    host_address: str = ""
    #: How long the machine has been up, when this was told; None where the driver cannot know.
    uptime_seconds: float | None = None
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    free_disk_gib: int = 0
    #: Description of the CPU as the driver writes it, for show and for comparing.
    cpu: str = ""
    #: JSON text for Nova's cpu_info.
    cpu_info: str = "{}"
    #: What guests may ask for here: "kvm", "qemu".
    supported_types: tuple[str, ...] = ()
    driver: str = ""
    capabilities: DriverCapabilities = NONE
    #: By what it sends guests; None from an agent too old to say.
    sending_rules: SendingRules | None = None
    #: Where sources reach this host's hypervisor and send memory to; empty = the driver derives it.
    migration_address: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The record of a host: its service, its hypervisor and its agent's liveness."""

    #: Integer id of both service and hypervisor, shown below microversion 2.53.
    id: int
    #: Service id from 2.53 on.
    uuid: str
    name: str
    description: HostDescription
    #: Changes at each start of its agent; commands are addressed to it.
    incarnation: str
    last_seen_at: datetime.datetime
    is_disabled: bool = False
    disabled_reason: str | None = None
    #: An operator's word that the host is dead: the only thing that turns unreachable into absent.
    is_forced_down: bool = False
    zone: str = "nova"
    #: When its machine started, by our own time; None where its driver cannot know.
    booted_at: datetime.datetime | None = None
    created_at: datetime.datetime
    updated_at: datetime.datetime | None = None
    #: Memory, vCPUs and number of the servers on it, and of those on their way to it.
    usage: Usage


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What servers and incoming migrations take of a host."""

    memory_mib: int = 0
    vcpus: int = 0
    disk_gib: int = 0
    servers: int = 0
    incoming_migrations: int = 0
    outgoing_migrations: int = 0


def is_up(host: Host, now: datetime.datetime, service_down_time_seconds: float) -> bool:
    """Whether its agent was heard of lately and no operator has declared it dead."""
    return not host.is_forced_down and (now - host.last_seen_at).total_seconds() <= service_down_time_seconds
