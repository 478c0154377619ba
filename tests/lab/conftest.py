# SPDX-License-Identifier: Apache-2.0
"""The lab of the real tests: one for the session, healed after each test that uses it.

Must not hide why tests do not run: a missing lab is a skip with its reason, and a failure where WHERRY_REQUIRE_REAL=1.
"""

from __future__ import annotations

import collections.abc
import contextlib
import itertools
import os
import pathlib
import typing
from concurrent import futures

import pytest

from tests.lab import flow, sites
from wherry.testing import fleet as fleets
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
    """Three hosts, shared by the session, without faults before and after, and without the guests that the test made."""
    yield _session_lab
    with futures.ThreadPoolExecutor(len(_session_lab.hosts)) as pool:
        list(pool.map(_heal, _session_lab.hosts))
    for guest in _session_lab.guests:
        guest.destroy()


def _heal(host: labs.Host) -> None:
    if not host.is_up:
        host.up()
    host.heal()


@pytest.fixture
def make_guest(lab: labs.Lab) -> labs.MakeGuest:
    """A factory of guests that are gone, with their disks, after the test."""
    numbers = itertools.count(1)

    def make(name: str = "", host: labs.Host | str = "h1", **options: typing.Any) -> labs.Guest:
        return lab.create_guest(name or f"guest{next(numbers)}", host, **options)

    return make


@pytest.fixture(scope="module")
def _shared_wherry(_session_lab: labs.Lab, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[flow.Flow]:
    directory = tmp_path_factory.mktemp("wherry")
    with flow.Flow(_session_lab, flow.Embedded(flow.options_of(_session_lab, directory, {}))) as running:
        yield running


@pytest.fixture
def wherry(_shared_wherry: flow.Flow, make_guest: labs.MakeGuest) -> flow.Flow:
    """A Wherry over the lab's hosts, shared by the tests of a module."""
    _shared_wherry.make_guest = make_guest
    return _shared_wherry


@pytest.fixture
def start_wherry(lab: labs.Lab, make_guest: labs.MakeGuest, tmp_path: pathlib.Path) -> collections.abc.Iterator[flow.StartWherry]:
    """Start a Wherry of the test's own; keywords are options by section."""
    with contextlib.ExitStack() as stack:

        def start(*, is_separate: bool = False, **options: dict[str, typing.Any]) -> flow.Flow:
            settings = flow.options_of(lab, tmp_path, options)
            process = flow.Separate(settings, tmp_path) if is_separate else flow.Embedded(settings)
            running = stack.enter_context(flow.Flow(lab, process))
            running.make_guest = make_guest
            return running

        yield start


@pytest.fixture(scope="module")
def start_site(
    _session_lab: labs.Lab,
    tmp_path_factory: pytest.TempPathFactory,
    require_real: collections.abc.Callable[[str, str | None], None],
) -> collections.abc.Iterator[sites.StartSite]:
    """Start a site of processes for the tests of a module, whose fixture `_shared_site` gives it."""
    require_real("A site of processes", fleets.why_not())
    with contextlib.ExitStack() as stack:

        def start(
            prepare: collections.abc.Callable[[pathlib.Path], None] | None = None, **options: dict[str, typing.Any]
        ) -> sites.SiteFlow:
            directory = tmp_path_factory.mktemp("site")
            if prepare is not None:
                prepare(directory)
            return stack.enter_context(sites.SiteFlow(_session_lab, sites.Site(_session_lab, directory, options)))

        yield start


@pytest.fixture
def site(_shared_site: sites.SiteFlow, make_guest: labs.MakeGuest) -> collections.abc.Iterator[sites.SiteFlow]:
    """The site that the tests of a module share; every process runs again afterwards, and the first api is asked."""
    _shared_site.make_guest = make_guest
    yield _shared_site
    for one in _shared_site.fleet.programs():
        if not one.is_running:
            one.start()
    _shared_site.turn_to(0)
