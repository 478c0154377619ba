# SPDX-License-Identifier: Apache-2.0
"""Runs in Keystone's own environment: what `keystone-manage` does for a new installation, its commands one after another.

In one process, because each `keystone-manage` spends three seconds on its imports.
Usage: bootstrap.py CONFIG_FILE PASSWORD URL
"""

from __future__ import annotations

import importlib
import sys


def main(config_file: str, password: str, url: str) -> None:
    """Make schema, keys, the administrator, and Keystone's own entry in the catalog."""
    manage = importlib.import_module("keystone.cmd.manage")
    cfg = importlib.import_module("oslo_config.cfg")
    owner = ("--keystone-user", "root", "--keystone-group", "root")
    addresses = [f"--bootstrap-{interface}-url={url}" for interface in ("admin", "internal", "public")]
    for words in (
        ("db_sync",),
        ("fernet_setup", *owner),
        ("credential_setup", *owner),
        ("bootstrap", f"--bootstrap-password={password}", "--bootstrap-region-id=RegionOne", *addresses),
    ):
        # keystone-manage reads its own words; its configuration is made for one command a process.
        sys.argv = ["keystone-manage", "--config-file", config_file, *words]
        cfg.CONF.clear()
        cfg.CONF.reset()
        manage.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
