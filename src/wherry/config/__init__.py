# SPDX-License-Identifier: Apache-2.0
"""Options: declared once, read once, handed down as frozen records.

The only package that imports oslo.config. Nothing here is global: who needs an option is given
the Config, or its section.
"""

from __future__ import annotations

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
from wherry.config.loading import Reloaded, load, reload, settings
from wherry.config.policy import PolicySection
from wherry.config.scheduler import SchedulerSection
from wherry.config.simulated import SimulatedSection
from wherry.config.tree import SECTIONS, Config

__all__ = [
    "Config",
    "load",
    "reload",
    "settings",
    "Reloaded",
    "SECTIONS",
    "AgentHost",
    "AgentSection",
    "ApiSection",
    "BusSection",
    "ConductorSection",
    "DatabaseSection",
    "DefaultSection",
    "HealthSection",
    "ImagesSection",
    "KeystoneSection",
    "LibvirtSection",
    "PolicySection",
    "SchedulerSection",
    "SimulatedSection",
]
