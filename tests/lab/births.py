# SPDX-License-Identifier: Apache-2.0
"""Servers that are made through the API from the image that the lab assembles: made, asked, waited for, heard on their console."""

from __future__ import annotations

import pathlib
from typing import Any

import httpx

from tests.lab import flow
from wherry.images import directory
from wherry.testing import lab as labs
from wherry.testing.lab import boot_image

IMAGE = "b0070000-0000-4000-8000-000000000001"
#: Where guests' files are on a host.
GUESTS = "/var/lib/libvirt/images"
#: SeaBIOS under nested KVM takes up to a quarter of this.
BOOT_SECONDS = 60.0


def add_image(state_path: pathlib.Path) -> None:
    """List the bootable image where a Wherry of this state looks for images."""
    images = directory.ImageDirectory(str(state_path / "images"))
    images.add(boot_image.build(state_path / "boot.raw"), name="boot", image_id=IMAGE)


def add_flavor(wherry: flow.Flow, name: str, *, memory_mib: int, disk_gib: int = 1) -> None:
    """Make a flavor whose id is its name."""
    flavor = {"name": name, "id": name, "ram": memory_mib, "vcpus": 1, "disk": disk_gib}
    assert wherry.request("POST", "/flavors", json={"flavor": flavor}).status_code == 200


class Birth:
    """One server that is made, and what a client sees of it."""

    def __init__(self, wherry: flow.Flow, **fields: Any) -> None:
        self.flow = wherry
        body = {"name": "made", "imageRef": IMAGE, "flavorRef": "small", "networks": "none"} | fields
        answer = wherry.request("POST", "/servers", json={"server": body})
        assert answer.status_code == 202, answer.text
        self.uuid = str(answer.json()["server"]["id"])

    @property
    def shown(self) -> dict[str, Any]:
        """As the API shows it now."""
        return dict(self.flow.get(f"/servers/{self.uuid}")["server"])

    @property
    def name(self) -> str:
        """Of its domain."""
        return str(self.shown["OS-EXT-SRV-ATTR:instance_name"])

    def until(self, status: str, host: str | None = None) -> dict[str, Any]:
        """Wait until the server is so, there, and nothing is done to it; a move that ended otherwise is told at once."""

        def is_so() -> dict[str, Any] | None:
            server = self.shown
            assert server["status"] != "ERROR", (server["status"], server.get("fault"))
            self._check_migration()
            if (server["status"], server["OS-EXT-STS:task_state"]) != (status, None):
                return None
            return server if host in (None, server["OS-EXT-SRV-ATTR:host"]) else None

        return flow.until(is_so, f"the server to be {status} at {host or 'some host'}", seconds=BOOT_SECONDS)

    def ask(self, action: str, body: Any = None) -> httpx.Response:
        """Ask for an action, whatever the answer."""
        return self.flow.request("POST", f"/servers/{self.uuid}/action", json={action: body})

    def act(self, action: str, body: Any = None) -> None:
        """Ask for an action, which is accepted."""
        answer = self.ask(action, body)
        assert answer.status_code in (202, 204), answer.text

    def console(self) -> str:
        """Give what the guest wrote to its serial console, as `os-getConsoleOutput` has it."""
        answer = self.ask("os-getConsoleOutput", {})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["output"])

    def until_booted(self, count: int) -> None:
        """Wait until it has booted so often, by the count on its own disk; what it wrote there at first is whole."""
        console = flow.until(
            lambda: said if (said := self.console()).count("boot ") and boot_image.boots(said)[-1:] == [count] else "",
            f"boot {count}",
            seconds=BOOT_SECONDS,
        )
        assert boot_image.patterns(console)[-1] == ("written" if count == 1 else "whole"), console

    def delete(self) -> None:
        """Delete it, and wait until it is gone."""
        assert self.flow.request("DELETE", f"/servers/{self.uuid}").status_code == 204
        flow.until(lambda: self.flow.request("GET", f"/servers/{self.uuid}").status_code == 404, "the server to be gone")

    def told(self) -> list[dict[str, Any]]:
        """Give the events of its last action."""
        actions = self.flow.get(f"/servers/{self.uuid}/os-instance-actions")["instanceActions"]
        found = self.flow.get(f"/servers/{self.uuid}/os-instance-actions/{actions[0]['request_id']}")
        return list(found["instanceAction"]["events"])

    def _check_migration(self) -> None:
        for record in self.flow.get(f"/os-migrations?instance_uuid={self.uuid}")["migrations"]:
            assert record["status"] not in ("error", "failed", "cancelled"), (record, self.told())


def files(host: labs.Host) -> set[str]:
    """Give what is in the directory of guests, but for the images that are kept."""
    listed = host.exec("find", GUESTS, "-type", "f", "-not", "-path", "*/wherry-base/*")
    return set(listed.stdout.split())
