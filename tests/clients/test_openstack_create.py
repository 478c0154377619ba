# SPDX-License-Identifier: Apache-2.0
"""openstackclient's commands that make servers and delete them, with flavors and images named as people do."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from tests.clients import running, service


@pytest.fixture
def image(service: service.Service, tmp_path: pathlib.Path) -> str:
    """The name of an image of a few bytes."""
    file = tmp_path / "tiny.raw"
    file.write_bytes(b"a guest's disk")
    assert _wherry(service, "add", "--name", "tiny", "--property", "os_type=none", str(file))
    assert _wherry(service, "list").endswith("tiny")
    return "tiny"


def _wherry(service: service.Service, verb: str, *words: str) -> str:
    """Run `wherry image` and give what it says."""
    command = [sys.executable, "-m", "wherry.cmd.main", "image", verb, "--config-file", str(service.configuration), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_create_reboot_suspend_and_delete(openstack: running.Client, service: service.Service, image: str) -> None:
    openstack.run("flavor", "create", "small", "--id", "small", "--ram", "128", "--vcpus", "1", "--disk", "1", "--property", "hw:x=1")
    assert openstack.json("flavor", "show", "small")["ram"] == 128
    made = openstack.json("server", "create", "born", "--image", image, "--flavor", "small", "--no-network", "--wait")
    assert (made["name"], made["status"]) == ("born", "ACTIVE")
    listed = openstack.json("server", "list", "--name", "^born$")
    assert [(row["Image"], row["Flavor"]) for row in listed] == [(image, "small")]
    openstack.run("server", "reboot", "--hard", "--wait", "born")
    openstack.run("server", "suspend", "born")
    service.until(lambda: service.server("born")["status"] == "SUSPENDED", "born to be suspended")
    openstack.run("server", "resume", "born")
    service.until(lambda: service.server("born")["status"] == "ACTIVE", "born to go on")
    assert f"{image} boots" in openstack.run("console", "log", "show", "born").out
    assert service.actions("born") == ["resume", "suspend", "reboot", "create"]
    openstack.run("server", "delete", "--wait", "born")
    openstack.run("flavor", "delete", "small")
