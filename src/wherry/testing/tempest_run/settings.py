# SPDX-License-Identifier: Apache-2.0
"""tempest.conf: what the suite is told of the cloud it meets.

Must say of each feature what is true: tempest skips what is said to be absent, and fails what is said to be there and is not.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

#: Of [compute-feature-enabled], what Wherry has. All else that tempest asks for there is absent.
_HAS = (
    "console_output",
    "disk_config",
    # Answers name one, as Nova's do, though no guest is given it.
    "enable_instance_password",
    "resize",
    "pause",
    "suspend",
    "cold_migration",
    "live_migration",
    "block_migration_for_live_migration",
)
_HAS_NOT = (
    "change_password",
    "config_drive",
    "interface_attach",
    "metadata_service",
    "attach_encrypted_volume",
    "personality",
    "rescue",
    "serial_console",
    "shelve",
    "snapshot",
    "spice_console",
    "vnc_console",
    "volume_backed_live_migration",
    "vtpm_live_migration",
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """What a site offers to the suite."""

    identity_url: str
    image_ids: tuple[str, str]
    flavor_ids: tuple[str, ...]
    #: How long tempest waits for a server to reach a state.
    build_timeout_seconds: int


def render(directory: pathlib.Path, accounts: pathlib.Path, cloud: Cloud, min_microversion: str) -> str:
    """Write the file's text."""
    features = dict.fromkeys(_HAS, "true") | dict.fromkeys(_HAS_NOT, "false")
    sections: Mapping[str, Mapping[str, str]] = {
        "DEFAULT": {"log_dir": str(directory), "log_file": "tempest.log"},
        "oslo_concurrency": {"lock_path": str(directory / "locks")},
        "auth": {
            "use_dynamic_credentials": "false",
            "test_accounts_file": str(accounts),
            "create_isolated_networks": "false",
            "tempest_roles": "member",
        },
        "identity": {"auth_version": "v3", "uri_v3": cloud.identity_url, "v3_endpoint_type": "public", "region": "RegionOne"},
        # Neither neutron nor glance is there, and neither is asked: classes about servers are skipped where tempest thinks so.
        "service_available": {"nova": "true", "neutron": "true", "glance": "true", "cinder": "false", "swift": "false"},
        "compute": {
            "image_ref": cloud.image_ids[0],
            "image_ref_alt": cloud.image_ids[1],
            "flavor_ref": cloud.flavor_ids[0],
            "flavor_ref_alt": cloud.flavor_ids[1],
            "min_compute_nodes": "2",
            "min_microversion": min_microversion,
            "max_microversion": "latest",
            "build_interval": "1",
            "build_timeout": str(cloud.build_timeout_seconds),
        },
        "compute-feature-enabled": {**features, "nova_policy_roles": "admin,manager,member,reader"},
        "enforce_scope": {"nova": "true"},
        "validation": {"run_validation": "false"},
        "live-migration-events": {"deadlines": "true", "shared_storage": "false"},
        "network-feature-enabled": {"api_extensions": ""},
    }
    blocks = ("\n".join([f"[{name}]", *(f"{option} = {value}" for option, value in options.items())]) for name, options in sections.items())
    return "\n\n".join(blocks) + "\n"
