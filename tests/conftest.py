# SPDX-License-Identifier: Apache-2.0
"""What all tests share: marks by directory, the rule about real things, hypothesis profiles, options.

Fixtures of one kind of test belong to the conftest of its directory.
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
from collections.abc import Callable

import hypothesis
import pytest

#: tests/<directory> -> the mark that every test in it carries.
_MARKS = {
    "unit": "unit",
    "contract": "contract",
    "functional": "functional",
    "regressions": "functional",
    "simulation": "simulation",
    "lab": "lab",
    "clients": "clients",
}
_ROOT = pathlib.Path(__file__).parent
#: The property of a test's report that holds what it told.
_TOLD = "told"

# Derandomised: a run in CI that fails fails again here.
hypothesis.settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=100, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("thorough", parent=hypothesis.settings.get_profile("default"), max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("WHERRY_HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our own options."""
    parser.addoption("--lab-keep", action="store_true", help="leave the lab's hosts and guests running after the tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the directory it lies in."""
    for item in items:
        top = item.path.relative_to(_ROOT).parts[0]
        if top in _MARKS:
            item.add_marker(_MARKS[top])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print what a test told; here, because what a worker of pytest-xdist prints is seen by nobody."""
    if report.when == "call":
        for name, text in report.user_properties:
            if name == _TOLD:
                sys.stdout.write(f"\n{text}\n")


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say what was measured, also where tests are quiet: printed when the test is over, and kept with its result."""
    return functools.partial(record_property, _TOLD)


def require_real(what: str, reason: str | None) -> None:
    """Skip when something real is missing; under WHERRY_REQUIRE_REAL=1 fail instead.

    ``reason`` says what is missing and how to get it; None means that all is there.
    """
    if reason is None:
        return
    text = f"{what} is not usable here: {reason}"
    if os.environ.get("WHERRY_REQUIRE_REAL") == "1":
        pytest.fail(f"{text} (WHERRY_REQUIRE_REAL=1 forbids to skip this)", pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session", name="require_real")
def require_real_fixture() -> Callable[[str, str | None], None]:
    """Give require_real(what, reason) to fixtures that need root, KVM, PostgreSQL, NATS …."""
    return require_real


@pytest.fixture(scope="session")
def is_lab_kept(request: pytest.FixtureRequest) -> bool:
    """Say whether the lab is to be left running."""
    return bool(request.config.getoption("--lab-keep"))
