# SPDX-License-Identifier: Apache-2.0
"""A policy file with a misspelt name was passed over, and a check that could not be read let nobody pass, without a word at the start."""

from __future__ import annotations

import pathlib

import pytest

from wherry import config as configs
from wherry import errors, policies


def _configuration(directory: pathlib.Path, lines: str) -> list[str]:
    file = directory / "wherry.conf"
    file.write_text(lines)
    return [str(file)]


def test_a_file_that_is_named_must_be_there(tmp_path: pathlib.Path) -> None:
    files = _configuration(tmp_path, "[oslo_policy]\npolicy_file = rules.yaml\n")
    with pytest.raises(errors.ConfigInvalid, match=f"policy_file: there is no file {tmp_path}/rules.yaml"):
        configs.load(files)
    (tmp_path / "rules.yaml").write_text("{}")
    assert configs.load(files).policy.policy_file == f"{tmp_path}/rules.yaml"


def test_the_one_that_nobody_named_need_not_be(tmp_path: pathlib.Path) -> None:
    assert configs.load(_configuration(tmp_path, "")).policy.policy_file == f"{tmp_path}/policy.yaml"


@pytest.mark.parametrize("check", ["role:admin and", "admin", "(role:admin"])
def test_a_check_that_cannot_be_read_is_named(tmp_path: pathlib.Path, check: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f'"os_compute_api:servers:show": "{check}"\n')
    with pytest.raises(errors.ConfigInvalid, match="the check of os_compute_api:servers:show cannot be read"):
        policies.Enforcer(policies.list_rules(), str(file))


def test_nobody_may_be_said(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"os_compute_api:servers:show": "!"\n')
    policies.Enforcer(policies.list_rules(), str(file))


def test_what_is_wrong_with_a_file_is_told_in_one_line(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("a: [\n")
    with pytest.raises(errors.ConfigInvalid) as caught:
        policies.Enforcer(policies.list_rules(), str(file))
    assert "\n" not in caught.value.message
