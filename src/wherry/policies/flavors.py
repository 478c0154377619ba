# SPDX-License-Identifier: Apache-2.0
"""Rules of flavors. Nova asks none for reading them; this one has the name that it had there once."""

from __future__ import annotations

from wherry.policies import base

READ = "os_compute_api:flavors"

RULES = (
    base.Rule(
        name=READ,
        check=base.ANYBODY,
        description="See the flavors.",
        operations=("GET /flavors", "GET /flavors/detail", "GET /flavors/{flavor_id}"),
    ),
)
