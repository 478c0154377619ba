# SPDX-License-Identifier: Apache-2.0
"""The rules' defaults, and what an operator's file may do to them."""

from __future__ import annotations

import pathlib
import re

import pytest

from wherry import errors, policies
from wherry.auth import context
from wherry.policies import base, sample


def _caller(role: str, project_id: str = "p1") -> context.RequestContext:
    roles = context.with_implied(frozenset({role}))
    return context.RequestContext(request_id="req-1", user_id="u", project_id=project_id, roles=roles)


#: Default check -> whether reader, member, manager of the project, manager of another project, admin of another project pass.
EXPECTED = {
    base.ANYBODY: (True, True, True, True, True),
    base.ADMIN: (False, False, False, False, True),
    base.PROJECT_READER_OR_ADMIN: (True, True, True, False, True),
    base.PROJECT_MEMBER_OR_ADMIN: (False, True, True, False, True),
    base.PROJECT_MANAGER_OR_ADMIN: (False, False, True, False, True),
}
CALLERS = [_caller("reader"), _caller("member"), _caller("manager"), _caller("manager", "p2"), _caller("admin", "p2")]
GUARDING = [rule for rule in policies.list_rules() if rule.operations]


@pytest.mark.parametrize("rule", GUARDING, ids=[rule.name for rule in GUARDING])
def test_each_rule_allows_its_callers_by_default(rule: base.Rule) -> None:
    enforcer = policies.Enforcer(policies.list_rules())
    assert tuple(enforcer.allows(rule.name, caller, "p1") for caller in CALLERS) == EXPECTED[rule.check]


def test_names_are_novas_and_never_twice() -> None:
    names = [rule.name for rule in policies.list_rules()]
    assert len(names) == len(set(names))
    assert all(rule.name.startswith("os_compute_api:") for rule in GUARDING)


def test_an_unknown_rule_lets_nobody_pass() -> None:
    assert not policies.Enforcer(policies.list_rules()).allows("os_compute_api:nothing", _caller("admin"))


def test_a_refusal_names_the_rule() -> None:
    with pytest.raises(errors.Forbidden, match=r"Policy doesn't allow os_compute_api:os-services:list to be performed\."):
        policies.Enforcer(policies.list_rules()).require("os_compute_api:os-services:list", _caller("member"))


def test_without_a_project_the_callers_own_counts() -> None:
    enforcer = policies.Enforcer(policies.list_rules())
    assert enforcer.allows("os_compute_api:servers:index", _caller("reader", "p2"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "policy.yaml"),
        ('"os_compute_api:nothing": "@"', "unknown rules: os_compute_api:nothing"),
        ('"os_compute_api:servers:show": "rule:nothing"', "os_compute_api:servers:show"),
        ('"os_compute_api:servers:show": "http://decide.example/%(project_id)s"', "http checks in os_compute_api:servers:show"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start(tmp_path: pathlib.Path, text: str, problem: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text + "\n")
    with pytest.raises(errors.ConfigInvalid, match=problem) as raised:
        policies.Enforcer(policies.list_rules(), str(file))
    assert raised.value.remedy


def test_a_file_that_is_not_there_changes_nothing(tmp_path: pathlib.Path) -> None:
    enforcer = policies.Enforcer(policies.list_rules(), str(tmp_path / "policy.yaml"))
    assert not enforcer.allows("os_compute_api:os-services:list", _caller("member"))


def test_a_rule_of_the_file_replaces_its_default_and_no_other(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"os_compute_api:os-migrate-server:migrate_live": "role:member and project_id:%(project_id)s"\n')
    enforcer = policies.Enforcer(policies.list_rules(), str(file))
    live, named = "os_compute_api:os-migrate-server:migrate_live", "os_compute_api:os-migrate-server:migrate_live:host"
    assert [enforcer.allows(live, caller, "p1") for caller in CALLERS] == [False, True, True, False, False]
    assert [enforcer.allows(named, caller, "p1") for caller in CALLERS] == [False, False, False, False, True]


def test_a_base_rule_of_the_file_changes_all_that_are_made_of_it(tmp_path: pathlib.Path) -> None:
    """Before Nova 32 there were no managers: an operator who keeps it so changes one rule."""
    file = tmp_path / "policy.yaml"
    file.write_text('"project_manager_or_admin": "rule:context_is_admin"\n')
    enforcer = policies.Enforcer(policies.list_rules(), str(file))
    managed = [rule for rule in GUARDING if rule.check == base.PROJECT_MANAGER_OR_ADMIN]
    assert managed
    for rule in managed:
        assert [enforcer.allows(rule.name, caller, "p1") for caller in CALLERS] == [False, False, False, False, True]


def test_the_sample_names_each_rule_and_changes_nothing_when_it_is_used_as_it_is(tmp_path: pathlib.Path) -> None:
    text = sample.sample_text()
    plain, commented = tmp_path / "policy.yaml", tmp_path / "sample.yaml"
    commented.write_text(text)
    plain.write_text(re.sub(r'^#"', '"', text, flags=re.MULTILINE))
    assert {f'"{rule.name}": "{rule.check}"' for rule in policies.list_rules()} == set(re.findall(r'^#(".*)$', text, re.MULTILINE))
    for file in (plain, commented):
        enforcer = policies.Enforcer(policies.list_rules(), str(file))
        for rule in GUARDING:
            assert tuple(enforcer.allows(rule.name, caller, "p1") for caller in CALLERS) == EXPECTED[rule.check]
