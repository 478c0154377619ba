# SPDX-License-Identifier: Apache-2.0
"""What a guest has used since it started, as libvirt counts it. Changes nothing, and waits for no guest whose QEMU does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libvirt

from wherry import errors
from wherry.drivers.libvirt import observe, xml_reading
from wherry.model import guest

_KINDS = (
    libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_INTERFACE | libvirt.VIR_DOMAIN_STATS_BLOCK
)


def measure(connection: libvirt.virConnect, host: str, instance_uuid: str) -> guest.Usage:
    """Give the counters of one guest.

    :raises GuestNotFound: when it is not here.
    """
    domain = observe.find(connection, instance_uuid)
    if domain is None:
        raise errors.GuestNotFound(host=host, uuid=instance_uuid)
    found = connection.domainListGetStats([domain], _KINDS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
    statistics: Mapping[str, Any] = found[0][1] if found else {}
    return guest.Usage(
        vcpu_nanoseconds=tuple(_counter(statistics, f"vcpu.{number}.time") for number in range(statistics.get("vcpu.current", 0))),
        disks=tuple(_disk(statistics, f"block.{number}.") for number in range(statistics.get("block.count", 0))),
        interfaces=_interfaces(domain, statistics),
        memory_used_mib=_memory_used_mib(statistics),
    )


def _counter(statistics: Mapping[str, Any], key: str) -> int | None:
    value = statistics.get(key)
    return None if value is None else int(value)


def _disk(statistics: Mapping[str, Any], prefix: str) -> guest.DiskUsage:
    return guest.DiskUsage(
        name=str(statistics.get(f"{prefix}name", "")),
        read_bytes=_counter(statistics, f"{prefix}rd.bytes"),
        read_requests=_counter(statistics, f"{prefix}rd.reqs"),
        write_bytes=_counter(statistics, f"{prefix}wr.bytes"),
        write_requests=_counter(statistics, f"{prefix}wr.reqs"),
    )


def _interfaces(domain: libvirt.virDomain, statistics: Mapping[str, Any]) -> tuple[guest.InterfaceUsage, ...]:
    # Statistics name the device on the host; only the definition says whose address it has.
    addresses: dict[str, str] = {}
    for element in xml_reading.parse(domain.XMLDesc()).iterfind("devices/interface"):
        target, mac = element.find("target"), element.find("mac")
        if target is not None and mac is not None:
            addresses[target.get("dev", "")] = mac.get("address", "")
    return tuple(
        _interface(statistics, f"net.{number}.", addresses.get(str(statistics.get(f"net.{number}.name", "")), ""))
        for number in range(statistics.get("net.count", 0))
    )


def _interface(statistics: Mapping[str, Any], prefix: str, mac: str) -> guest.InterfaceUsage:
    return guest.InterfaceUsage(
        name=str(statistics.get(f"{prefix}name", "")),
        mac=mac,
        received=_traffic(statistics, f"{prefix}rx."),
        sent=_traffic(statistics, f"{prefix}tx."),
    )


def _traffic(statistics: Mapping[str, Any], prefix: str) -> guest.Traffic:
    return guest.Traffic(
        bytes=_counter(statistics, f"{prefix}bytes"),
        packets=_counter(statistics, f"{prefix}pkts"),
        errors=_counter(statistics, f"{prefix}errs"),
        drops=_counter(statistics, f"{prefix}drop"),
    )


def _memory_used_mib(statistics: Mapping[str, Any]) -> int | None:
    """Give what the guest itself says where it does, else what it is given, as Nova does."""
    given, free = statistics.get("balloon.available"), statistics.get("balloon.unused")
    if given is not None and free is not None:
        return int(given - free) // 1024
    current = statistics.get("balloon.current")
    return None if current is None else int(current) // 1024
