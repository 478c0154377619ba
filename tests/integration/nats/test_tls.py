# SPDX-License-Identifier: Apache-2.0
"""Both ends of the bus prove who they are, and no password goes to a server that talks in clear text."""

from __future__ import annotations

import asyncio
import json
import pathlib
from typing import Any

import pytest

from tests.integration.nats import certificates, servers
from wherry import errors
from wherry.rpc.transports import nats
from wherry.rpc.transports.nats import keys
from wherry.testing.transport_contract.suite import Inbox

pytestmark = pytest.mark.nats


@pytest.fixture
def authority(tmp_path: pathlib.Path) -> certificates.Authority:
    return certificates.Authority(tmp_path, "authority")


@pytest.fixture
def secure(make_server: servers.MakeServer, authority: certificates.Authority) -> servers.Server:
    """Start a server that has a certificate and wants one."""
    return make_server(_tls(*authority.issue("server"), authority.file))


def _tls(certificate: pathlib.Path, key: pathlib.Path, ca: pathlib.Path) -> str:
    return f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{ca}", verify: true }}\n'


def _options(ca: pathlib.Path, certificate: pathlib.Path | None = None, key: pathlib.Path | None = None) -> dict[str, object]:
    named = {"tls_ca_file": ca, "tls_certificate_file": certificate, "tls_key_file": key}
    return {name: str(path) for name, path in named.items() if path is not None} | {"connect_timeout_seconds": 1.0}


async def test_two_who_trust_each_other_talk(secure: servers.Server, authority: certificates.Authority, join: servers.Join) -> None:
    options = _options(authority.file, *authority.issue("client"))
    asking = await join(secure.section(**options))
    answering = await join(secure.section(**options))
    await answering.subscribe("question", Inbox(b"answer"))
    assert await asking.request("question", bytes(500_000), 5) == b"answer"
    # The connection that is made after a loss is no other.
    secure.kill()
    secure.start()
    assert await servers.until_answered(asking, "question") == b"answer"


async def test_who_cannot_be_trusted_is_not_talked_to(
    secure: servers.Server, authority: certificates.Authority, join: servers.Join, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = certificates.Authority(tmp_path, "stranger")
    mine = authority.issue("client")
    cases = {
        "a server that the authority does not know": _options(stranger.file, *mine),
        "a client that the server's authority does not know": _options(authority.file, *stranger.issue("impostor")),
        "a client without a certificate": _options(authority.file),
    }
    for what, options in cases.items():
        transport = await join(secure.section(**options | {"connect_timeout_seconds": 0.3}))
        assert transport.problem == "not connected", what
    await servers.until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)


async def test_a_server_with_anothers_certificate_is_left(
    make_server: servers.MakeServer, authority: certificates.Authority, join: servers.Join, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(_tls(*authority.issue("elsewhere", "127.0.0.2"), authority.file))
    transport = await join(server.section(**_options(authority.file, *authority.issue("client")) | {"connect_timeout_seconds": 0.3}))
    assert transport.problem == "not connected"
    await servers.until(lambda: "certificate is not valid for '127.0.0.1'" in caplog.text)


@pytest.mark.parametrize("with_key", [False, True], ids=["password", "key"])
async def test_nothing_is_given_away_in_clear_text(
    authority: certificates.Authority, join: servers.Join, tmp_path: pathlib.Path, with_key: bool
) -> None:
    """Somebody in between says, in the server's place, that there is no TLS; and writes down what he gets: no password, and no signature of
    a nonce that may be another server's.
    """
    login: dict[str, Any] = {"user": "me", "password": "secret-of-mine"}
    if with_key:
        (tmp_path / "key").write_text(keys.make_seed())
        login = {"nkey_seed_file": str(tmp_path / "key")}
    heard = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        information = {
            "server_id": "x",
            "version": "2.9.10",
            "max_payload": 1_048_576,
            "headers": True,
            "auth_required": True,
            "nonce": "abc",
        }
        writer.write(f"INFO {json.dumps(information)}\r\n".encode())
        heard.extend(await reader.read())
        writer.close()

    listener = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        for url, options in ((f"tls://127.0.0.1:{port}", {}), (f"nats://127.0.0.1:{port}", {"tls_ca_file": str(authority.file)})):
            section = servers.section(url, connect_timeout_seconds=0.3, **login, **options)
            assert (await join(section)).problem == "not connected"
    finally:
        listener.close()
    assert heard == b""


def test_files_that_cannot_be_used_are_named(authority: certificates.Authority, tmp_path: pathlib.Path) -> None:
    certificate, _ = authority.issue("client")
    _, other_key = authority.issue("other")
    locked = authority.issue("locked", password=b"secret-of-mine")
    empty = tmp_path / "empty"
    empty.touch()
    for options, said in (
        (_options(tmp_path / "none"), "tls_ca_file: .*none cannot be used: No such file or directory"),
        (_options(empty), "tls_ca_file: .*empty cannot be used"),
        (_options(authority.file, certificate, other_key), "tls_certificate_file: .*client.pem with .*other.key cannot be used"),
        (_options(authority.file, *locked), "tls_certificate_file: .*locked.key cannot be used: .*encrypted"),
        (_options(authority.file, tmp_path / "none"), "tls_certificate_file: .*none with its own key cannot be used: No such file"),
    ):
        with pytest.raises(errors.ConfigInvalid, match=said):
            nats.settings_of(servers.section("nats://a", **options))
