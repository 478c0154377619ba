# SPDX-License-Identifier: Apache-2.0
"""noauth believes what a token says, and only where nobody else can speak."""

from __future__ import annotations

import pytest

from wherry import config, errors
from wherry.auth import noauth, strategy


@pytest.mark.parametrize(
    ("token", "user", "project", "roles", "is_admin"),
    [
        (None, "admin", "home", {"admin", "manager", "member", "reader"}, True),
        ("notused", "admin", "home", {"admin", "manager", "member", "reader"}, True),
        (":p1", "admin", "home", {"admin", "manager", "member", "reader"}, True),
        ("admin:p1", "admin", "p1", {"admin", "manager", "member", "reader"}, True),
        ("mel:p1", "mel", "p1", {"member", "reader"}, False),
        ("rita:p1:reader", "rita", "p1", {"reader"}, False),
        ("maria:p1:manager", "maria", "p1", {"manager", "member", "reader"}, False),
        ("olga:p1:operator, admin", "olga", "p1", {"operator", "admin", "manager", "member", "reader"}, True),
    ],
)
async def test_identity_of_a_token(token: str | None, user: str, project: str, roles: set[str], is_admin: bool) -> None:
    made = noauth.NoAuth(config.ApiSection(noauth_project_id="home"))
    caller = await made.authenticate({} if token is None else {"x-auth-token": token}, "req-1")
    assert (caller.user_id, caller.project_id, set(caller.roles), caller.is_admin) == (user, project, roles, is_admin)
    assert caller.request_id == "req-1"


@pytest.mark.parametrize("token", ["a b:p1", "u:p 1", "u:" + "p" * 256, "ü:p1"])
async def test_a_name_that_cannot_be_stored_is_nobodys(token: str) -> None:
    with pytest.raises(errors.Unauthenticated):
        await noauth.NoAuth(config.ApiSection()).authenticate({"x-auth-token": token}, "req-1")


def test_other_machines_are_not_believed_unless_the_operator_insists() -> None:
    with pytest.raises(errors.ConfigInvalid, match="lets everybody who reaches that address move servers"):
        noauth.NoAuth(config.ApiSection(bind_host="0.0.0.0"))
    noauth.NoAuth(config.ApiSection(bind_host="0.0.0.0", allow_unsafe_noauth_bind=True))


def test_a_strategy_that_is_not_there_is_told_of_at_the_start() -> None:
    with pytest.raises(errors.ConfigInvalid, match="auth_strategy: keystone is not available"):
        strategy.from_config(config.ApiSection(auth_strategy="keystone"))
