# SPDX-License-Identifier: Apache-2.0
"""Subjects: the sender is a token, and no name can forge another's."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from wherry.rpc import addresses

pytestmark = pytest.mark.unit


@hypothesis.given(strategies.text(min_size=1))
def test_any_name_is_one_safe_token_and_comes_back(name: str) -> None:
    hypothesis.assume(not any("\ud800" <= c <= "\udfff" for c in name))
    token = addresses.encode(name)
    assert not set(token) & set(".*> \t\r\n")
    assert addresses.decode(token) == name


def test_subjects_name_role_sender_and_message() -> None:
    sender = addresses.Sender(addresses.Role.AGENT, "a.b")
    assert addresses.subject(addresses.conductor(), sender, "Heartbeat") == "wherry.conductor.agent.a=2Eb.Heartbeat"
    assert addresses.subject(addresses.agent("a.b"), sender, "ObserveGuest") == "wherry.agent.a=2Eb.ObserveGuest"


def test_an_api_process_cannot_pass_for_an_agent() -> None:
    subject = addresses.subject(addresses.conductor(), addresses.Sender(addresses.Role.API, "h1"), "X")
    assert addresses.sender_of(subject) == "api:h1"
    agent_subject = addresses.subject(addresses.conductor(), addresses.Sender(addresses.Role.AGENT, "h1"), "X")
    assert addresses.sender_of(agent_subject) == "h1"


def test_an_answer_goes_to_who_asked_and_nobody_else() -> None:
    agent, namesake = addresses.Sender(addresses.Role.AGENT, "h.1"), addresses.Sender(addresses.Role.AGENT, "h.1x")
    conductor, api = addresses.Sender(addresses.Role.CONDUCTOR, "c"), addresses.Sender(addresses.Role.API, "h.1")
    everybody = (agent, namesake, conductor, api)
    from_agent = addresses.subject(addresses.conductor(), agent, "Heartbeat")
    assert [addresses.may_be_answered(from_agent, f"{addresses.inbox(one)}.token") for one in everybody] == [True, False, False, False]
    from_api = addresses.subject(addresses.conductor(), api, "MigrateServer")
    assert [addresses.may_be_answered(from_api, f"{addresses.inbox(one)}.token") for one in everybody] == [False, False, False, True]
    from_conductor = addresses.subject(addresses.agent("h.1"), conductor, "ObserveGuest")
    assert [addresses.may_be_answered(from_conductor, f"{addresses.inbox(one)}.token") for one in everybody] == [False, False, True, False]
    assert not addresses.may_be_answered(from_agent, addresses.subject(addresses.agent("h2"), conductor, "StartTransfer"))
