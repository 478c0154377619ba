# SPDX-License-Identifier: Apache-2.0
"""The whole configuration as one frozen record that is handed down.

Holds values; reading files and the environment is the loader's work.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from typing import cast

from wherry.config import agent as agent_section
from wherry.config import option as opt
from wherry.config.agent import AgentHost, AgentSection
from wherry.config.api import ApiSection
from wherry.config.bus import BusSection
from wherry.config.conductor import ConductorSection
from wherry.config.database import DatabaseSection
from wherry.config.default import DefaultSection
from wherry.config.health import HealthSection
from wherry.config.images import ImagesSection
from wherry.config.keystone import KeystoneSection
from wherry.config.libvirt import LibvirtSection
from wherry.config.policy import PolicySection
from wherry.config.scheduler import SchedulerSection
from wherry.config.simulated import SimulatedSection


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All options of a process, one attribute a section.

    ``Config()`` alone lacks what the loader derives (host, paths); use ``config.load``.
    """

    default: DefaultSection = DefaultSection()
    api: ApiSection = ApiSection()
    keystone: KeystoneSection = KeystoneSection()
    database: DatabaseSection = DatabaseSection()
    bus: BusSection = BusSection()
    conductor: ConductorSection = ConductorSection()
    agent: AgentSection = AgentSection()
    images: ImagesSection = ImagesSection()
    scheduler: SchedulerSection = SchedulerSection()
    libvirt: LibvirtSection = LibvirtSection()
    simulated: SimulatedSection = SimulatedSection()
    policy: PolicySection = PolicySection()
    health: HealthSection = HealthSection()

    def problems(self) -> Iterator[str]:
        """Say what does not fit together across sections."""
        missing = self.keystone.missing()
        if self.api.auth_strategy == "keystone" and missing:
            yield f"[api] auth_strategy = keystone needs {', '.join(missing)} in [keystone]; write them there, or auth_strategy = noauth"
        if self.images.source == "glance" and missing:
            yield f"[images] source = glance needs {', '.join(missing)} in [keystone]; write them there, or source = directory"

        yield from self._too_few_threads()

    def _too_few_threads(self) -> Iterator[str]:
        threads, beside = self.libvirt.max_worker_threads, self.libvirt.max_control_connections + 1
        wanted = self.default.max_concurrent_live_migrations
        if threads > beside and not 0 < wanted <= threads - beside:
            what = f"{wanted} migrations" if wanted else "any number of migrations"
            least = f"at least {wanted + beside}, or to 0" if wanted else "0"
            yield (
                f"[libvirt] max_worker_threads carries {threads - beside} migrations out of a host at a time, and "
                f"[DEFAULT] max_concurrent_live_migrations admits {what}; set max_worker_threads to {least}"
            )

    def agent_hosts(self) -> tuple[AgentHost, ...]:
        """Return the hosts that an agent with this configuration serves."""
        uris = agent_section.pairs(self.agent.hosts)
        if not uris:
            uris = {self.default.host: self.libvirt.connection_uri}
        addresses = agent_section.pairs(self.agent.migration_addresses)
        inbound = self.libvirt.live_migration_inbound_addr
        return tuple(AgentHost(name=name, connection_uri=uri, migration_address=addresses.get(name, inbound)) for name, uri in uris.items())

    def zone_of(self, host: str) -> str:
        """Give the availability zone of a host that this process serves."""
        return agent_section.pairs(self.agent.availability_zones).get(host, self.default.default_availability_zone)


#: Attribute of Config -> its section, in the order of the sample file.
SECTIONS: Mapping[str, type[opt.Section]] = types.MappingProxyType(
    {field.name: cast("type[opt.Section]", type(field.default)) for field in dataclasses.fields(Config)}
)
