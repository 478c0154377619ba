# SPDX-License-Identifier: Apache-2.0
"""What is made of tempest's results: nothing gets lost, and a class that had to run and did not is a failure."""

from __future__ import annotations

import pathlib
import xml.etree.ElementTree as ET

import pytest

from wherry.testing.tempest_run import cases, junit, report, selection

LISTED = ["a.b.One.test_x", "a.b.One.test_y", "a.b.Two.test_z"]


def result(test_id: str, status: str, why: str = "") -> dict[str, object]:
    return {"id": test_id, "status": status, "why": why, "seconds": 1.5}


def test_attributes_are_taken_off() -> None:
    (case,) = cases.read([result("a.b.One.test_x[id-1,smoke]", "success")], LISTED)
    assert (case.place, case.name, case.verdict, case.seconds) == ("a.b.One", "test_x", cases.Verdict.PASSED, 1.5)


def test_a_class_that_is_skipped_counts_each_of_its_tests_with_the_reason() -> None:
    found = cases.read([result("setUpClass (a.b.One)", "skip", "no volumes"), result("a.b.Two.test_z", "success")], LISTED)
    skipped = cases.of_verdict(found, cases.Verdict.SKIPPED)
    assert [(case.full_name, case.why) for case in skipped] == [("a.b.One.test_x", "no volumes"), ("a.b.One.test_y", "no volumes")]
    assert cases.by_reason(skipped) == {"no volumes": skipped}


def test_a_class_that_breaks_as_a_whole_is_one_failure_beside_its_tests() -> None:
    found = cases.read([result("a.b.One.test_x", "success"), result("tearDownClass (a.b.One)", "fail", "it broke")], LISTED)
    (broken,) = cases.of_verdict(found, cases.Verdict.FAILED)
    assert (broken.place, broken.name, broken.why) == ("a.b.One", "tearDownClass", "it broke")


def test_whatever_is_neither_passed_nor_skipped_has_failed() -> None:
    found = cases.read([result("a.b.One.test_x", status) for status in ("fail", "uxsuccess", "inprogress", "unknown")], LISTED)
    assert len(cases.of_verdict(found, cases.Verdict.FAILED)) == 4


def test_a_wanted_class_of_which_nothing_ran_is_a_failure_that_says_why() -> None:
    found = cases.read([result("setUpClass (a.b.One)", "skip", "no volumes"), result("a.b.Two.test_z", "fail", "x")], LISTED)
    told = {case.place: case.why for case in cases.missing(found, ["a.b.One", "a.b.Two", "a.b.Three"], LISTED)}
    assert told == {"a.b.One": "No test of it ran: it was skipped.", "a.b.Three": "No test of it ran: tempest has no such class."}


def test_the_report_has_each_reason_and_each_failure() -> None:
    found = cases.read(
        [result("setUpClass (a.b.One)", "skip", "no volumes"), result("a.b.Two.test_z", "fail", "Traceback\nExpected 202")], LISTED
    )
    lines = report.lines_of("simulated hosts", found, {"no quotas": ["a.q.Q.test_1", "a.q.Q.test_2"]}, 12.4)
    assert lines[1] == "tempest, simulated hosts: passed 0, skipped 2, failed 1, left out 2 (12 s)"
    for wanted in ("      2  no volumes", "            2 a.b.One", "      2  no quotas", "  FAILED a.b.Two.test_z", "    Expected 202"):
        assert wanted in lines, lines


def test_results_are_written_for_programs(tmp_path: pathlib.Path) -> None:
    found = [
        cases.Case(place="a.b.One", name="test_x", verdict=cases.Verdict.PASSED, seconds=2),
        cases.Case(place="a.b.One", name="test_y", verdict=cases.Verdict.SKIPPED, why="no volumes"),
        cases.failed("a.b.Two", "test_z", "Traceback\x1b[0m\nExpected 202"),
    ]
    junit.write(tmp_path / "new" / "results.xml", {"strict": found})
    written = list(ET.parse(tmp_path / "new" / "results.xml").iter("testcase"))
    assert [(case.get("classname"), case.get("name")) for case in written] == [
        ("a.b.One", "test_x (strict)"),
        ("a.b.One", "test_y (strict)"),
        ("a.b.Two", "test_z (strict)"),
    ]
    skip, failure = written[1].find("skipped"), written[2].find("failure")
    assert skip is not None and skip.get("message") == "no volumes"
    assert failure is not None and failure.get("message") == "Expected 202"


def test_a_class_is_not_wanted_of_a_run_that_begins_above_its_last_version() -> None:
    strict, whole = set(selection.wanted_of("2.100", is_smoke=False)), set(selection.wanted_of("2.1", is_smoke=False))
    old = "tempest.api.compute.admin.test_services_negative.ServicesAdminNegativeTestJSON"
    assert old in whole - strict
    assert strict < whole
    assert set(selection.wanted_of("2.1", is_smoke=True)) <= whole


@pytest.mark.parametrize("version", ["2.1", "2.100"])
def test_what_is_wanted_is_never_left_out(version: str) -> None:
    assert not [
        name for name in selection.wanted_of(version, is_smoke=False) if selection.why_left_out(f"{name}.test_x", version, "simulated")
    ]


def test_what_is_left_out_has_a_reason_and_is_there() -> None:
    quotas = "tempest.api.compute.admin.test_quotas.QuotasAdminTestJSON.test_x"
    assert selection.why_left_out(quotas, "2.1", "lab") == "quotas: Wherry has none"
    uptime = "tempest.api.compute.admin.test_hypervisor.HypervisorAdminTestJSON.test_get_hypervisor_uptime"
    assert not selection.why_left_out(uptime, "2.1", "lab")
    assert selection.why_left_out(uptime, "2.100", "lab")
    diagnostics = "tempest.api.compute.admin.test_server_diagnostics.ServerDiagnosticsV248Test.test_get_server_diagnostics"
    assert selection.why_left_out(diagnostics, "2.1", "simulated") and not selection.why_left_out(diagnostics, "2.1", "lab")
    assert len(selection.stale([quotas])) == len(selection.LEFT_OUT) - 1
