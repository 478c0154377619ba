# SPDX-License-Identifier: Apache-2.0
"""Rules of limits."""

from __future__ import annotations

from wherry.policies import base

SHOW = "os_compute_api:limits"
OTHER_PROJECT = "os_compute_api:limits:other_project"

_SHOW = ("GET /limits",)

RULES = (
    base.Rule(name=SHOW, check=base.ANYBODY, description="See the limits of one's project.", operations=_SHOW),
    base.Rule(name=OTHER_PROJECT, check=base.ADMIN, description="See the limits of another project.", operations=_SHOW),
)
