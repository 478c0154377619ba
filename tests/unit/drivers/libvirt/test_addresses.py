# SPDX-License-Identifier: Apache-2.0
"""Under which address a hypervisor's host is shown."""

from __future__ import annotations

import pytest

from wherry.drivers.libvirt import addresses


@pytest.mark.parametrize(
    ("uri", "inbound", "names"),
    [
        ("qemu:///system", "", ["h1"]),
        ("qemu:///system", "10.0.0.5", ["10.0.0.5", "h1"]),
        ("qemu+tcp://h1.example:16509/system", "10.0.0.5", ["h1.example", "10.0.0.5", "h1"]),
        ("qemu+tls://[2001:db8::1]/system", "", ["2001:db8::1", "h1"]),
    ],
)
def test_where_it_is_managed_comes_first(uri: str, inbound: str, names: list[str]) -> None:
    assert addresses.names_of(uri, inbound, "h1") == names


async def test_a_name_is_asked_for_and_the_next_one_taken_where_it_has_no_address() -> None:
    assert await addresses.first_of(["no-such-host.invalid", "localhost"], 10.0) in {"127.0.0.1", "::1"}
    assert await addresses.first_of(["x" * 64, "198.51.100.4"], 10.0) == "198.51.100.4"
    assert await addresses.first_of([], 10.0) == ""
