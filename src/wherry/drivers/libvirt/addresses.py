# SPDX-License-Identifier: Apache-2.0
"""The IP address under which a hypervisor's host is known. Only for people to see: nothing is ever sent there."""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.parse
from collections.abc import Sequence


def names_of(connection_uri: str, inbound_address: str, hostname: str) -> list[str]:
    """Give what the host is called, best first: where it is managed, where migrations arrive, what it calls itself."""
    managed = urllib.parse.urlsplit(connection_uri).hostname or ""
    return [name for name in (managed, inbound_address, hostname) if name]


async def first_of(names: Sequence[str], timeout_seconds: float) -> str:
    """Give the address that the first of these names has, in numbers; empty where none has any, or no answer comes in time."""
    for name in names:
        if is_address(name):
            return name
        try:
            # In a thread: a resolver that is silent keeps it, not the loop.
            async with asyncio.timeout(timeout_seconds):
                found = await asyncio.get_running_loop().getaddrinfo(name, None)
        except (OSError, TimeoutError, UnicodeError):
            continue
        if found:
            return str(found[0][4][0]).partition("%")[0]
    return ""


def is_address(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
