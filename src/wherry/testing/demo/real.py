# SPDX-License-Identifier: Apache-2.0
"""The demo's site with real guests: three libvirt hosts of the lab.

Must not ask Wherry anything: what it says of a guest comes from the hypervisors.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from wherry.testing import lab as labs
from wherry.testing.demo import site
from wherry.testing.lab import command

LAB_NAME = "wherry-demo"
HOST_COUNT = 3
MEMORY_MIB = 512
#: How fast one migration may send memory: slow enough to be watched.
BANDWIDTH_MIB_PER_S = 64
#: The calm guest's memory is sent faster than it writes, the busy one's is not.
CALM_RANGE_MIB, CALM_MIB_PER_S = 160, 32
BUSY_RANGE_MIB, BUSY_MIB_PER_S = 256, 200

#: How long the calm guest may take to write all of it once.
FILL_TIMEOUT_SECONDS = 40.0


def why_unavailable() -> str:
    """Say in one line why there can be no real guests here; empty if there can."""
    if importlib.util.find_spec("libvirt") is None:
        return "libvirt-python is not installed: as root, `make setup` installs libvirt-dev and builds it"
    return labs.why_unavailable()


class RealSite:
    """A lab that is up, with two guests on its first host."""

    host_count = HOST_COUNT
    calm, busy = "calm", "busy"
    budget_seconds = 5

    def __init__(self, lab: labs.Lab) -> None:
        self._lab = lab
        self._guests = {
            self.calm: lab.create_guest(
                self.calm, "h1", payload="counter", memory_mib=MEMORY_MIB, range_mib=CALM_RANGE_MIB, rate_mib_per_s=CALM_MIB_PER_S
            ),
            self.busy: lab.create_guest(
                self.busy, "h1", payload="dirty", memory_mib=MEMORY_MIB, range_mib=BUSY_RANGE_MIB, rate_mib_per_s=BUSY_MIB_PER_S
            ),
        }

        # What was never written is not worth watching: its pages are sent as a mark.
        calm = self._guests[self.calm]
        command.wait_until(
            lambda: calm.beacon().passes > 0,
            f"{self.calm} to write its memory once",
            timeout_seconds=FILL_TIMEOUT_SECONDS,
            interval_seconds=0.1,
        )

    def describe(self) -> Sequence[str]:
        record = self._lab.record
        how = "KVM" if record.accelerator == "kvm" else f"emulated ({record.accelerator_reason})"
        hosts = ", ".join(f"{host.name} {host.uri}" for host in self._lab.hosts)
        return (
            f"hosts    {hosts}",
            f"guests   QEMU, {how}, {MEMORY_MIB} MiB each, on h1; a migration may send {BANDWIDTH_MIB_PER_S} MiB/s",
            f"{self.calm:<8} writes {CALM_MIB_PER_S} MiB/s in {CALM_RANGE_MIB} MiB and checks each page before it writes it",
            f"{self.busy:<8} writes {BUSY_MIB_PER_S} MiB/s in {BUSY_RANGE_MIB} MiB: more than may be sent",
        )

    def configuration(self) -> site.Configuration:
        # The third act forces a guest across: by post-copy it goes on while its memory follows.
        return site.merge(configuration_of(self._lab, BANDWIDTH_MIB_PER_S), {"libvirt": {"live_migration_permit_post_copy": "true"}})

    def look(self, guest: str, hosts: Sequence[str]) -> Sequence[site.Sighting]:
        return [self._look(guest, self._lab.host(name)) for name in hosts]

    def _look(self, guest: str, host: labs.Host) -> site.Sighting:
        names, state = host.domains(), host.domain_state(guest)
        return site.Sighting(
            host=host.name,
            answers=((f"virsh domstate {guest} --reason", state), ("virsh list --all --name", " ".join(names) or "(none)")),
            is_running=state.startswith("running") and guest in names,
            is_absent=state == "absent" and guest not in names,
        )

    def check_memory(self, guest: str) -> str:
        made = self._guests[guest]
        if made.spec.payload != "counter":
            return ""
        made.check_memory()
        return f"{made.beacon().pages} pages"


def configuration_of(lab: labs.Lab, bandwidth_mib_per_s: int) -> site.Configuration:
    """Give what Wherry must be told to serve the hosts of a lab."""
    return {
        "agent": {
            "driver": "libvirt",
            "hosts": ",".join(f"{host.name}={host.control_uri}" for host in lab.hosts),
            "migration_addresses": ",".join(f"{host.name}={host.migration_address}" for host in lab.hosts),
            "inventory_interval_seconds": "5",
        },
        "libvirt": {"live_migration_bandwidth": str(bandwidth_mib_per_s), "live_migration_monitor_interval": "1"},
    }
