# SPDX-License-Identifier: Apache-2.0
"""`wherry bus-permissions`: what it prints, and what it says of a request that makes no sense. integration/nats has a server read it."""

from __future__ import annotations

import pathlib

import pytest

from wherry.cmd import main

pytestmark = pytest.mark.unit

_HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"


def test_each_user_gets_what_its_parts_need_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bus-permissions", "--agent", "rack1.h1", "--api", "c1", "--user", "both=conductor:c2,agent:h2"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert lines == [
        "authorization {",
        "users = [",
        "{",
        'user: "api-c1", password: $WHERRY_BUS_API_C1',
        "permissions: {",
        'publish: { allow: ["wherry.conductor.api.c1.>"] }',
        'subscribe: { allow: ["wherry.inbox.api.c1.>"] }',
        "}",
        "}",
        "{",
        'user: "agent-rack1.h1", password: $WHERRY_BUS_AGENT_RACK1_H1',
        "permissions: {",
        'publish: { allow: ["wherry.conductor.agent.rack1=2Eh1.>"] }',
        'subscribe: { allow: ["wherry.agent.rack1=2Eh1.>", "wherry.inbox.agent.rack1=2Eh1.>"] }',
        'allow_responses: { max: 1, expires: "1860s" }',
        "}",
        "}",
        "{",
        'user: "both", password: $WHERRY_BUS_BOTH',
        "permissions: {",
        'publish: { allow: ["wherry.conductor.conductor.c2.>", "wherry.agent.>", "wherry.inbox.agent.>", "wherry.inbox.api.>", '
        '"wherry.conductor.agent.h2.>"] }',
        'subscribe: { allow: ["wherry.conductor.>", "wherry.inbox.conductor.c2.>", "wherry.agent.h2.>", "wherry.inbox.agent.h2.>"] }',
        'allow_responses: { max: 1, expires: "1860s" }',
        "}",
        "}",
        "]",
        "}",
    ]


def test_hashes_stand_in_the_file_in_place_of_variables(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    file = tmp_path / "hashes"
    file.write_text(f"# comment\nagent-h1:{_HASH}\nsomebody:{_HASH}\n")
    assert main.main(["bus-permissions", "--agent", "h1", "--hashes", str(file)]) == 0
    printed = capsys.readouterr().out
    assert f'user: "agent-h1", password: "{_HASH}"' in printed
    assert "variable" not in printed
    assert "somebody" not in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "none is named. Name the processes"),
        (("--agent", "h1", "--user", "agent-h1=agent:h1"), "agent-h1 is named twice"),
        (("--user", "control"), "control is not a user. Write NAME=ROLE:HOST"),
        (("--user", "control=boss:c1"), "boss:c1 is not a part. Write ROLE:HOST, ROLE being one of api, conductor, agent"),
        (("--user", "control=api:"), "api: is not a part"),
        (("--agent", "h.1", "--agent", "h-1"), "agent-h-1 and agent-h.1 would have the same variable $WHERRY_BUS_AGENT_H_1"),
        (("--agent", "h1", "--hashes", "/nowhere"), "/nowhere cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_say_instead(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main.main(["bus-permissions", *arguments]) == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [("agent-h2:x\n", "line 1 is something else"), (f"agent-h2:{_HASH}\n", "has no line for agent-h1"), (f"agent-h1:{_HASH}x", "line 1")],
)
def test_a_file_of_hashes_lets_no_plain_password_through_nor_out(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, content: str, said: str
) -> None:
    file = tmp_path / "hashes"
    file.write_text(content)
    assert main.main(["bus-permissions", "--agent", "h1", "--hashes", str(file)]) == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert content.strip() not in printed.err
    assert printed.out == ""
