# SPDX-License-Identifier: Apache-2.0
"""The hosts on which the suite makes its servers, and the images and flavors that it makes them from.

Must not choose tests, nor know what they do.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Protocol

import httpx

from wherry.images import directory as images
from wherry.testing import lab as labs
from wherry.testing.demo import errors, real, site
from wherry.testing.lab import boot_image

#: Two of each, because tests ask for one and not the other.
IMAGE_IDS = ("7e390000-0000-4000-8000-000000000001", "7e390000-0000-4000-8000-000000000002")
#: Id -> memory and disk: small, because a lab's guests share this machine.
FLAVORS = {"tempest-1": (64, 1), "tempest-2": (96, 2)}

#: A fleet on which a server moves in an instant, with a few guests that nobody made through the API.
_SCENARIO = """
name: tempest
seed: 1
time_factor: 20
hosts:
  - {name: "h{n}", count: 3, vcpus: 64, memory_mib: 65536, link_mib_per_s: 1000}
guests:
  - {name: "found-{n}", count: 3, memory_mib: 512, disks: [{}]}
"""
_IMAGE_BYTES = 1 << 20
#: Labs of this suite begin so; what a killed run left is taken down by the next one.
_LAB_PREFIX = "tempest-"
_HOST_COUNT = 3


class Site(Protocol):
    """Hosts, and what Wherry must be told to serve them."""

    def configuration(self, directory: pathlib.Path) -> site.Configuration:
        """Give it, with files in this directory."""
        ...

    def image(self, path: pathlib.Path) -> pathlib.Path:
        """Write the image that servers are made from to this path, and give it back."""
        ...

    @property
    def build_timeout_seconds(self) -> int:
        """How long a server may take to be built or to move."""
        ...


class SimulatedSite:
    """Three simulated hosts."""

    build_timeout_seconds = 60

    def configuration(self, directory: pathlib.Path) -> site.Configuration:
        scenario = directory / "scenario.yaml"
        scenario.write_text(_SCENARIO)
        return {
            "agent": {"driver": "simulated"},
            "simulated": {"scenario_file": str(scenario)},
            "libvirt": {"live_migration_monitor_interval": "1"},
        }

    def image(self, path: pathlib.Path) -> pathlib.Path:
        path.write_bytes(bytes(_IMAGE_BYTES))
        return path


class LabSite:
    """Three libvirt hosts of a lab that is up; its guests boot an image that is assembled here."""

    build_timeout_seconds = 120

    def __init__(self, lab: labs.Lab) -> None:
        self._lab = lab

    def configuration(self, directory: pathlib.Path) -> site.Configuration:
        own = {
            # The image heeds no wish to shut down: it would be waited for each time.
            "conductor": {"shutdown_timeout_seconds": "1", "shutdown_poll_interval_seconds": "0.2"},
            # Where this machine is a guest itself, the BIOS takes seconds under KVM, and a tenth of one without.
            "libvirt": {"virt_type": "qemu"},
        }
        return site.merge(real.configuration_of(self._lab, bandwidth_mib_per_s=0), own)

    def image(self, path: pathlib.Path) -> pathlib.Path:
        return boot_image.build(path)


@contextlib.contextmanager
def simulated() -> Iterator[Site]:
    """Give simulated hosts."""
    yield SimulatedSite()


@contextlib.contextmanager
def lab() -> Iterator[Site]:
    """Bring a lab up, and take it down afterwards.

    :raises LabUnavailable: where there can be none.
    """
    if reason := real.why_unavailable():
        raise labs.LabUnavailable(reason)
    labs.take_down_orphans(_LAB_PREFIX)
    with labs.Lab(f"{_LAB_PREFIX}{os.getpid()}", host_count=_HOST_COUNT) as up:
        yield LabSite(up)


def add_images(where: Site, directory: pathlib.Path, state: pathlib.Path) -> None:
    """List the images where Wherry looks for them."""
    source = where.image(directory / "image.raw")
    for number, image_id in enumerate(IMAGE_IDS, 1):
        images.ImageDirectory(str(state / "images")).add(source, name=f"tempest-{number}", image_id=image_id)


def add_flavors(url: str, token: str) -> None:
    """Make the flavors, as an administrator.

    :raises DemoFailed: when they are refused.
    """
    with httpx.Client(headers={"X-Auth-Token": token}, timeout=30.0, trust_env=False) as http:
        for name, (memory_mib, disk_gib) in FLAVORS.items():
            flavor = {"id": name, "name": name, "ram": memory_mib, "vcpus": 1, "disk": disk_gib}
            answer = http.post(f"{url}/flavors", json={"flavor": flavor})
            if answer.status_code != 200:
                raise errors.DemoFailed(f"the flavor {name} was refused: {answer.status_code} {answer.text}")
