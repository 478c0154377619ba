# SPDX-License-Identifier: Apache-2.0
"""Who may do what: one module of rules a resource, and the enforcer that is handed down.

Knows no HTTP and no database: it is given a rule, a caller and the project concerned.
"""

from __future__ import annotations

from wherry.policies import (
    base,
    flavor_extra_specs,
    flavors,
    hypervisors,
    images,
    instance_actions,
    limits,
    migrations,
    server_actions,
    server_create,
    server_groups,
    server_metadata,
    server_migrations,
    server_tags,
    server_update,
    servers,
    services,
    zones,
)
from wherry.policies.enforcer import Enforcer

__all__ = ["Enforcer", "list_rules"]


def list_rules() -> list[base.Rule]:
    """Give every rule, base rules first; the sample file and the reference page are made from it."""
    modules = (
        *(
            base,
            servers,
            server_create,
            server_update,
            server_metadata,
            server_tags,
            server_actions,
            server_migrations,
            migrations,
            instance_actions,
        ),
        *(services, hypervisors, zones, flavors, flavor_extra_specs, images, limits, server_groups),
    )
    return [rule for module in modules for rule in module.RULES]
