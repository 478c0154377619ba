# SPDX-License-Identifier: Apache-2.0
"""Processes log in with keys: those of the generated list, and those with the JWTs of an operator's accounts."""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
from typing import Any

import nkeys
import pytest

from tests.functional.flow import asking
from tests.integration.nats import servers, system
from wherry import errors
from wherry.cmd import main
from wherry.config import bus as config_bus
from wherry.rpc import addresses, permissions
from wherry.rpc.transports import nats
from wherry.rpc.transports.nats import keys
from wherry.testing.transport_contract.suite import Inbox

pytestmark = pytest.mark.nats

_PARTS = {"agent-h1": "agent:h1", "agent-h2": "agent:h2", "agent-h3": "agent:h3", "control": "api:control,conductor:control"}


@pytest.fixture
def seeds(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> pathlib.Path:
    """Make a key for each user as an operator does; gives the list of public ones."""
    public = tmp_path / "public-keys"
    with public.open("w") as lines:
        lines.write("# the public halves\n")
        for name in _PARTS:
            assert main.main(["bus-key", str(tmp_path / name)]) == 0
            lines.write(f"{name}:{capsys.readouterr().out}")
    return public


@pytest.fixture
def guarded(make_server: servers.MakeServer, seeds: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> servers.Server:
    users = [word for name, parts in _PARTS.items() for word in ("--user", f"{name}={parts}")]
    assert main.main(["bus-permissions", *users, "--keys", str(seeds)]) == 0
    return make_server(capsys.readouterr().out)


def _section(server: servers.Server, folder: pathlib.Path, sender: addresses.Sender) -> config_bus.BusSection:
    user = f"agent-{sender.name}" if sender.role is addresses.Role.AGENT else "control"
    return server.section(nkey_seed_file=str(folder / user))


async def test_migrations_run_with_keys_and_permissions(guarded: servers.Server, tmp_path: pathlib.Path) -> None:
    world = system.three_hosts()
    async with system.NatsCloud(world, tmp_path, lambda sender: _section(guarded, tmp_path, sender)) as cloud:
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.COMPLETED
    assert "Violation" not in guarded.log


async def test_a_key_opens_what_is_its_own_and_again_after_a_loss(
    guarded: servers.Server, tmp_path: pathlib.Path, join: servers.Join
) -> None:
    agent = addresses.Sender(addresses.Role.AGENT, "h1")
    transport = await join(_section(guarded, tmp_path, agent), addresses.inbox(agent))
    conductor = addresses.Sender(addresses.Role.CONDUCTOR, "control")
    answering = await join(_section(guarded, tmp_path, conductor), addresses.inbox(conductor))
    await answering.subscribe("wherry.conductor.>", Inbox(b"answer"))
    assert await transport.request("wherry.conductor.agent.h1.Heartbeat", b"x", 5) == b"answer"
    with pytest.raises(errors.BusForbidden):
        await transport.request("wherry.conductor.agent.h2.Heartbeat", b"x", 5)
    guarded.kill()
    guarded.start()
    assert await servers.until_answered(transport, "wherry.conductor.agent.h1.Heartbeat") == b"answer"


async def test_another_key_opens_nothing(guarded: servers.Server, tmp_path: pathlib.Path, join: servers.Join) -> None:
    (tmp_path / "strange").write_text(keys.make_seed())
    for options in ({"nkey_seed_file": str(tmp_path / "strange")}, {}, {"user": "agent-h1", "password": "x"}):
        transport = await join(guarded.section(connect_timeout_seconds=0.3, **options))
        assert transport.problem == "not connected"


# ------------------------------------------------------------------------- an operator's accounts


class Authority:
    """An operator with one account, as nsc makes them."""

    def __init__(self) -> None:
        self._operator, self._account = _pair(nkeys.PREFIX_BYTE_OPERATOR), _pair(nkeys.PREFIX_BYTE_ACCOUNT)
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1) | {"wildcards": True}
        self.operator = _jwt(self._operator, _public(self._operator), {"type": "operator"})
        self.account = _jwt(self._operator, _public(self._account), {"type": "account", "limits": limits})

    def configuration(self) -> str:
        preload = f"{_public(self._account)}: {self.account}"
        return f"operator: {self.operator}\nresolver: MEMORY\nresolver_preload: {{ {preload} }}\n"

    def credentials(self, part: addresses.Sender) -> str:
        """Give a .creds file for one part."""
        seed = keys.make_seed()
        allowed = permissions.of_part(part)
        claims = {
            "type": "user",
            "pub": {"allow": list(allowed.publish)},
            "sub": {"allow": list(allowed.subscribe)},
            **({"resp": {"max": 1, "ttl": 60 * 10**9}} if allowed.is_answering else {}),
            **dict.fromkeys(("subs", "data", "payload"), -1),
        }
        jwt = _jwt(self._account, keys.public_key(seed), claims)
        return (
            f"-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n"
            "************************* IMPORTANT *************************\r\nNKEY Seed printed below can be used to sign.\r\n\r\n"
            f"-----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        )


def _pair(prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(hashlib.sha256(bytes([prefix])).digest(), prefix)))


def _public(pair: nkeys.KeyPair) -> str:
    key: bytes = pair.public_key
    return key.decode()


def _jwt(issuer: nkeys.KeyPair, subject: str, claims: dict[str, Any]) -> str:
    body = {"iss": _public(issuer), "sub": subject, "name": subject, "iat": 1_700_000_000, "nats": {"version": 2, **claims}}
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
    return f"{signed}.{_encoded(issuer.sign(signed.encode()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_a_credentials_file_opens_what_its_account_allows(
    make_server: servers.MakeServer, tmp_path: pathlib.Path, join: servers.Join
) -> None:
    authority = Authority()
    server = make_server(authority.configuration())
    agent, conductor = addresses.Sender(addresses.Role.AGENT, "h1"), addresses.Sender(addresses.Role.CONDUCTOR, "c")
    joined = []
    for part in (agent, conductor):
        file = tmp_path / f"{part.role.value}.creds"
        file.write_text(authority.credentials(part), newline="")
        joined.append(await join(server.section(credentials_file=str(file)), addresses.inbox(part)))
    asking_one, answering = joined
    await answering.subscribe("wherry.conductor.>", Inbox(b"answer"))
    assert await asking_one.request("wherry.conductor.agent.h1.Heartbeat", b"x", 5) == b"answer"
    with pytest.raises(errors.BusForbidden):
        await asking_one.request("wherry.conductor.agent.h2.Heartbeat", b"x", 5)
    server.kill()
    server.start()
    assert await servers.until_answered(asking_one, "wherry.conductor.agent.h1.Heartbeat") == b"answer"
    (tmp_path / "strange").write_text(keys.make_seed())
    stranger = await join(server.section(nkey_seed_file=str(tmp_path / "strange"), connect_timeout_seconds=0.3))
    assert stranger.problem == "not connected"


# ------------------------------------------------------------------------- files that cannot be used


def test_files_that_cannot_be_used_are_named_and_not_shown(tmp_path: pathlib.Path) -> None:
    account = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT).decode()
    file = tmp_path / "file"
    cases = [
        ("nkey_seed_file", "", "it is no seed"),
        ("nkey_seed_file", "SU-no-seed-at-all", "it is no seed"),
        ("nkey_seed_file", keys.make_seed()[:-3] + "AAA", "it is no seed"),
        ("nkey_seed_file", account, "not a user's"),
        ("nkey_seed_file", "\u00e4", "it is no text"),
        ("credentials_file", keys.make_seed(), "it has no user JWT"),
        ("credentials_file", "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n", "it has no key"),
    ]
    for option, text, why in cases:
        file.write_text(text)
        with pytest.raises(errors.ConfigInvalid, match=why) as caught:
            nats.settings_of(servers.section("nats://127.0.0.1:1", **{option: str(file)}))
        assert f"[bus] {option}" in caught.value.message
        assert not text or text not in str(caught.value) + caught.value.remedy
    with pytest.raises(errors.ConfigInvalid, match="No such file"):
        nats.settings_of(servers.section("nats://127.0.0.1:1", nkey_seed_file=str(tmp_path / "none")))
    good = tmp_path / "good"
    good.write_text(keys.make_seed())
    assert good.read_text() not in repr(nats.settings_of(servers.section("nats://127.0.0.1:1", nkey_seed_file=str(good))))


def test_a_key_is_its_owners_and_never_written_over(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    assert main.main(["bus-key", str(file)]) == 0
    assert (file.stat().st_mode & 0o777, file.read_text()[:2], capsys.readouterr().out[0]) == (0o600, "SU", "U")
    before = file.read_text()
    assert main.main(["bus-key", str(file)]) != 0
    assert "is not there yet" in capsys.readouterr().err
    assert file.read_text() == before


def test_two_ways_in_are_one_too_many() -> None:
    section = servers.section("nats://127.0.0.1:1", user="u", password="p", nkey_seed_file="f")
    assert list(section.problems()) == ["[bus] user and nkey_seed_file are different ways to log in; set one of them"]
