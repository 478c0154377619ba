# SPDX-License-Identifier: Apache-2.0
"""The code of docs/howto/clients.md, run as it stands there."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from keystoneauth1 import noauth, session
from openstack import connection

from tests.clients import service

pytestmark = pytest.mark.filterwarnings("ignore")

_PAGE = pathlib.Path(__file__).parents[2] / "docs" / "howto" / "clients.md"
#: Where Debian's golang-…-dev packages put their sources.
_GO_SOURCES = pathlib.Path("/usr/share/gocode")
_BUILD_SECONDS = 120.0
#: What a program around the recipe does: log in by the environment, as gophercloud's own examples do.
_GO_PROGRAM = """\
package main

import (
	"fmt"
	"os"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack"
)

%s
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	options, err := openstack.AuthOptionsFromEnv()
	fail(err)
	provider, err := openstack.AuthenticatedClient(options)
	fail(err)
	client, err := openstack.NewComputeV2(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	fail(err)
	requestID, err := liveMigrate(client, os.Args[1])
	fail(err)
	fmt.Println(requestID)
}
"""


def _code(language: str, word: str) -> str:
    """Give the one block of the page in this language that has this word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


def _run(code: str, **names: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, str(_PAGE), "exec"), names)
    return names


def _check(service: service.Service, name: str, request_id: str) -> None:
    """The migration has the recipe's deadline, and the recipe's request id finds its story."""
    record = service.running(name)
    asked = {key: record[key] for key in ("timeout_seconds", "timeout_seconds_origin", "on_timeout", "on_timeout_origin")}
    assert asked == {"timeout_seconds": 120, "timeout_seconds_origin": "request", "on_timeout": "abort", "on_timeout_origin": "request"}
    action = service.get(f"/servers/{service.id_of(name)}/os-instance-actions/{request_id}")["instanceAction"]
    assert action["action"] == "live-migration"


def test_openstacksdk(service: service.Service, restless: str, identity: dict[str, str]) -> None:
    names: dict[str, Any] = {name.removeprefix("OS_").lower(): value for name, value in identity.items()}
    with connection.Connection(**names) as cloud:
        done = _run(_code("python", "cloud.compute"), cloud=cloud, server_id=service.id_of(restless))
    _check(service, restless, done["request_id"])


def test_novaclient(service: service.Service, restless: str) -> None:
    made = session.Session(auth=noauth.NoAuth(endpoint=service.compute))
    done = _run(_code("python", "nova.client"), session=made, server_id=service.id_of(restless))
    _check(service, restless, done["request_id"])


def test_gophercloud(
    service: service.Service,
    restless: str,
    identity: dict[str, str],
    require_real: Callable[[str, str | None], None],
    tmp_path: pathlib.Path,
) -> None:
    """Compiled against Debian's gophercloud 0.12, without modules and so without a network."""
    require_real("Go", None if shutil.which("go") else "there is no go; apt-get install golang-go")
    sources = _GO_SOURCES / "src" / "github.com" / "gophercloud"
    require_real("gophercloud", None if sources.is_dir() else "apt-get install golang-github-gophercloud-gophercloud-dev")
    program = tmp_path / "main.go"
    program.write_text(_GO_PROGRAM % _code("go", "liveMigrate"))
    environ = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": f"{tmp_path}:{_GO_SOURCES}",
        "GOCACHE": str(tmp_path / "cache"),
        "GOFLAGS": "",
    }
    binary = tmp_path / "live-migrate"
    built = subprocess.run(
        ["go", "build", "-o", binary, program], env=environ, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
    )
    assert built.returncode == 0, built.stderr
    # It does not know OS_USER_DOMAIN_NAME.
    ran = subprocess.run(
        [binary, service.id_of(restless)],
        env=os.environ | identity | {"OS_DOMAIN_NAME": "Default"},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    _check(service, restless, ran.stdout.strip())
