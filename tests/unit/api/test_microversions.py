# SPDX-License-Identifier: Apache-2.0
"""The list of microversions, and how a request names one."""

from __future__ import annotations

import pytest

from wherry.api import microversions


def test_history_rises_strictly_and_leaves_no_version_of_novas_out() -> None:
    numbers = [tuple(int(part) for part in version.split(".")) for version, _ in microversions.HISTORY]
    assert numbers == sorted(set(numbers))
    assert numbers[:104] == [(2, minor) for minor in range(1, 105)]
    assert all(number >= (2, 1000) for number in numbers[104:])


def test_history_is_one_plain_line_a_version() -> None:
    for version, line in microversions.HISTORY:
        assert line and "\n" not in line and line.endswith("."), version


def test_the_ends_are_what_the_list_says() -> None:
    assert (str(microversions.MINIMUM), str(microversions.MAXIMUM)) == ("2.1", "2.1000")


@pytest.mark.parametrize(
    ("text", "applied"),
    [
        ("2.1", "2.1"),
        ("2.34", "2.34"),
        ("2.104", "2.104"),
        ("2.105", "2.104"),
        ("2.999", "2.104"),
        ("2.1000", "2.1000"),
        ("latest", "2.1000"),
    ],
)
def test_a_version_is_applied_as(text: str, applied: str) -> None:
    assert str(microversions.parse(text)) == applied


@pytest.mark.parametrize("text", ["2", "2.", "v2.1", "2.1.1", "two", "02.1", "2.01", "", "2.x", "2.1 2.2", "LATEST", "2.1111111111"])
def test_what_is_no_version_is_malformed(text: str) -> None:
    with pytest.raises(microversions.Malformed, match=r"is of invalid format\. Must be of format MajorNum\.MinorNum\."):
        microversions.parse(text)


@pytest.mark.parametrize("text", ["2.0", "1.1", "2.1001", "3.0"])
def test_a_version_that_there_is_not_is_unknown(text: str) -> None:
    with pytest.raises(microversions.Unknown) as raised:
        microversions.parse(text)
    assert str(raised.value) == f"Version {text} is not supported by the API. Minimum is 2.1 and maximum is 2.1000."


@pytest.mark.parametrize(
    ("values", "legacy", "found"),
    [
        ([], None, None),
        ([], "2.3", "2.3"),
        (["compute 2.34"], None, "2.34"),
        (["compute 2.34"], "2.3", "2.34"),
        (["volume 3.1, compute 2.34"], "2.3", "2.34"),
        (["volume 3.1"], "2.3", "2.3"),
        (["volume 3.1"], None, None),
        (["compute 2.34", "compute 2.35"], None, "2.35"),
        (["COMPUTE  latest"], None, "latest"),
        (["compute"], "2.3", "2.3"),
    ],
)
def test_the_new_header_wins_and_other_services_do_not_count(values: list[str], legacy: str | None, found: str | None) -> None:
    assert microversions.requested(values, legacy) == found
