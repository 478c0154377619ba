# SPDX-License-Identifier: Apache-2.0
"""The proof of memory finds what it is to find; no guest is needed for that."""

from __future__ import annotations

import pathlib
import struct
from concurrent import futures

import pytest

from wherry.testing import lab as labs
from wherry.testing.lab import payloads

pytestmark = pytest.mark.lab


def dump(*pages: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", count, index).ljust(payloads.PAGE_BYTES, b"\0") for count, index in pages)


@pytest.mark.parametrize(
    ("pages", "passes"),
    [
        (dump((3, 0), (3, 1), (3, 2)), 3),
        (dump((4, 0), (3, 1), (3, 2)), 3),
        (dump((1, 0), (0, 0), (0, 0)), 0),
    ],
)
def test_pages_in_order_pass(pages: bytes, passes: int) -> None:
    assert payloads.check_counter_pages(pages) == passes


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        (dump((4, 0), (3, 1), (4, 2)), "page 2 was written 4 times"),
        (dump((4, 0), (2, 1), (2, 2)), "page 1 was written 2 times"),
        (dump((4, 0), (3, 1), (2, 2)), "page 2 was written 2 times"),
        (dump((4, 0), (4, 2), (4, 2)), "page 1 says that it is page 2"),
        (b"", "holds no page"),
    ],
    ids=["torn", "lost", "twice", "misplaced", "empty"],
)
def test_anything_else_is_named(pages: bytes, said: str) -> None:
    with pytest.raises(labs.LabError, match=said):
        payloads.check_counter_pages(pages)


def test_a_beacon_is_read_as_the_monitor_prints_it() -> None:
    said = (
        "0000000000200000: 0x59524857 0x00000001 0x00000002 0x00004a19\r\n0000000000200010: 0x00000001 0x00000003 0x00000064 0x00000004\r\n"
    )
    assert payloads.parse_beacon(said) == labs.Beacon(
        is_lit=True, is_done=False, passes=2, pages=(1 << 32) + 0x4A19, errors=3, first_bad_page=100
    )
    with pytest.raises(labs.LabError, match="no beacon"):
        payloads.parse_beacon("Cannot access memory")


def test_two_may_build_the_same_payload_at_once(tmp_path: pathlib.Path) -> None:
    """Their drafts had one name, and one took away the other's."""
    with futures.ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: payloads.build(tmp_path, "counter", range_mib=3), range(8)))
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in built}
    assert len(set(built)) == 1
