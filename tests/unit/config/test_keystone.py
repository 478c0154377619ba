# SPDX-License-Identifier: Apache-2.0
"""[keystone] is complete when it is used, and its options fit together."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from wherry import config, errors

COMPLETE = {"auth_url": "http://keystone.example:5000/v3", "username": "wherry", "password": "secret"}
CREDENTIAL = {"auth_url": "https://keystone.example/v3", "application_credential_id": "a", "application_credential_secret": "s"}


def load(strategy: str, keystone: Mapping[str, object]) -> config.Config:
    return config.load([], {}, {"api": {"auth_strategy": strategy}, "keystone": keystone})


def test_noauth_needs_nothing_of_it() -> None:
    assert load("noauth", {}).keystone.missing() == ("auth_url", "username", "password")


@pytest.mark.parametrize("keystone", [COMPLETE, CREDENTIAL])
def test_either_way_to_log_in_is_complete(keystone: Mapping[str, object]) -> None:
    assert load("keystone", keystone).keystone.missing() == ()


@pytest.mark.parametrize(
    ("keystone", "says"),
    [
        ({}, "needs auth_url, username, password in \\[keystone\\]"),
        ({**COMPLETE, "password": ""}, "needs password in"),
        ({**CREDENTIAL, "application_credential_secret": ""}, "needs application_credential_secret"),
        ({**COMPLETE, **CREDENTIAL}, "two ways to log in"),
        ({**COMPLETE, "application_credential_secret": "s"}, "write both or neither"),
        ({**COMPLETE, "keyfile": "/k"}, "keyfile is there without certfile"),
        ({**COMPLETE, "insecure": True, "cafile": "/c"}, "insecure = true"),
        ({**COMPLETE, "service_token_roles": ""}, "service_token_roles is empty"),
        ({**COMPLETE, "auth_url": "keystone.example:5000"}, "it takes http://HOST:PORT/v3"),
        ({**COMPLETE, "interface": "inside"}, "one of internal, public, admin"),
        ({**COMPLETE, "validation_threads": 0}, "an integer from 1 to 256"),
    ],
)
def test_what_does_not_work_is_told_at_the_start(keystone: Mapping[str, object], says: str) -> None:
    with pytest.raises(errors.ConfigInvalid, match=says):
        load("keystone", keystone)


def test_secrets_are_not_shown() -> None:
    shown = dict(config.settings(load("keystone", COMPLETE)))
    assert shown["keystone.password"] == shown["keystone.application_credential_secret"] == "(hidden)"
