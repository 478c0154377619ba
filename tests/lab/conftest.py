# SPDX-License-Identifier: Apache-2.0
"""The lab of the real tests: one for the session, healed after each test that uses it.

Must not hide why tests do not run: a missing lab is a skip with its reason, and a failure where WHERRY_REQUIRE_REAL=1.
"""

from __future__ import annotations

import collections.abc
import os
import typing

import pytest

from wherry.testing import lab as labs

#: Labs of tests begin so; what a killed session left is taken down by the next one.
NAME_PREFIX = "pytest-"


@pytest.fixture(scope="session")
def lab_is_possible() -> None:
    """Skip, or fail where real tests are required, if no lab can run here."""
    if reason := labs.why_unavailable():
        if os.environ.get("WHERRY_REQUIRE_REAL") == "1":
            pytest.fail(f"WHERRY_REQUIRE_REAL=1, but {reason}", pytrace=False)
        pytest.skip(reason)
    labs.take_down_orphans(NAME_PREFIX)


@pytest.fixture
def own_lab_name(lab_is_possible: None) -> collections.abc.Iterator[str]:
    """A name for a lab of the test's own, which is down afterwards."""
    name = f"{NAME_PREFIX}{os.getpid()}-own"
    yield name
    labs.Lab(name).down()


@pytest.fixture(scope="session")
def _session_lab(lab_is_possible: None) -> collections.abc.Iterator[labs.Lab]:
    # Not libvirt's 30 s wherever a reply between two daemons is lost; enough for a busy machine.
    with labs.Lab(f"{NAME_PREFIX}{os.getpid()}", host_count=3, peer_silence_seconds=6) as made:
        yield made


@pytest.fixture
def lab(_session_lab: labs.Lab) -> collections.abc.Iterator[labs.Lab]:
    """Three hosts, shared by the session, without faults before and after."""
    yield _session_lab
    for host in _session_lab.hosts:
        if not host.is_up:
            host.up()
        host.heal()


@pytest.fixture
def make_guest(lab: labs.Lab) -> collections.abc.Iterator[labs.MakeGuest]:
    """A factory of guests that are gone, with their disks, after the test."""
    made: list[labs.Guest] = []

    def make(name: str = "", host: labs.Host | str = "h1", **options: typing.Any) -> labs.Guest:
        guest = lab.create_guest(name or f"guest{len(made) + 1}", host, **options)
        made.append(guest)
        return guest

    yield make
    # This ends before the lab's own clean-up begins, so a fault of the test may still be there.
    for host in lab.hosts:
        if host.is_up:
            host.heal()
    for guest in made:
        guest.destroy()
