# SPDX-License-Identifier: Apache-2.0
"""Rules of images, which Nova asks the image service about."""

from __future__ import annotations

from wherry.policies import base

READ = "os_compute_api:images"

RULES = (
    base.Rule(
        name=READ,
        check=base.ANYBODY,
        description="See the images.",
        operations=("GET /images", "GET /images/detail", "GET /images/{image_id}"),
    ),
)
