# SPDX-License-Identifier: Apache-2.0
"""noauth believes what a token says, and only where nobody else can speak."""

from __future__ import annotations

import pytest

from wherry import clock, config, errors
from wherry.auth import noauth


def make(**options: str | bool) -> noauth.NoAuth:
    return noauth.NoAuth(config.load([], {}, {"api": options}).api, clock.LoopClock())


@pytest.mark.parametrize(
    ("token", "user", "project", "roles", "is_admin"),
    [
        (None, "admin", "home", {"admin", "manager", "member", "reader"}, True),
        ("notused", "admin", "home", {"admin", "manager", "member", "reader"}, True),
        (":p1", "admin", "home", {"admin", "manager", "member", "reader"}, True),
        ("admin:p1", "admin", "p1", {"admin", "manager", "member", "reader"}, True),
        ("mel:p1", "mel", "p1", {"member", "reader"}, False),
        ("manager:p1", "manager", "p1", {"manager", "member", "reader"}, False),
        ("reader:p1", "reader", "p1", {"reader"}, False),
        ("rita:p1:reader", "rita", "p1", {"reader"}, False),
        ("maria:p1:manager", "maria", "p1", {"manager", "member", "reader"}, False),
        ("olga:p1:operator, admin", "olga", "p1", {"operator", "admin", "manager", "member", "reader"}, True),
    ],
)
async def test_identity_of_a_token(token: str | None, user: str, project: str, roles: set[str], is_admin: bool) -> None:
    made = make(noauth_project_id="home")
    caller = await made.authenticate({} if token is None else {"x-auth-token": token}, "req-1")
    assert (caller.user_id, caller.project_id, set(caller.roles), caller.is_admin) == (user, project, roles, is_admin)
    assert caller.request_id == "req-1"


@pytest.mark.parametrize("token", ["a b:p1", "u:p 1", "u:" + "p" * 256, "ü:p1", "u:p1:ro:le"])
async def test_a_name_that_cannot_be_stored_is_nobodys(token: str) -> None:
    with pytest.raises(errors.Unauthenticated):
        await make().authenticate({"x-auth-token": token}, "req-1")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "::",
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1%lo",
        "::ffff:192.0.2.1",
        "api.example.net",
        "localhost.example.net",
        "127.1",
        "*",
    ],
)
def test_other_machines_are_not_believed_unless_the_operator_insists(address: str) -> None:
    """Neither by the check of the configuration nor by the strategy itself."""
    said = "lets everybody who reaches that address move servers"
    with pytest.raises(errors.ConfigInvalid, match=said):
        make(bind_host=address)
    with pytest.raises(errors.ConfigInvalid, match=said):
        noauth.NoAuth(config.ApiSection(bind_host=address), clock.LoopClock())
    make(bind_host=address, allow_unsafe_noauth_bind=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.7.6", "::1", "localhost"])
def test_this_machine_is_believed(address: str) -> None:
    assert make(bind_host=address).login is not None
