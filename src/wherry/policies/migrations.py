# SPDX-License-Identifier: Apache-2.0
"""Rules of migrations across servers."""

from __future__ import annotations

from wherry.policies import base

INDEX = "os_compute_api:os-migrations:index"
INDEX_ALL_PROJECTS = "os_compute_api:os-migrations:index:all_projects"
INDEX_HOST = "os_compute_api:os-migrations:index:host"

_LIST = ("GET /os-migrations",)

RULES = (
    base.Rule(name=INDEX, check=base.PROJECT_MANAGER_OR_ADMIN, description="List migrations.", operations=_LIST),
    base.Rule(name=INDEX_ALL_PROJECTS, check=base.ADMIN, description="List the migrations of all projects.", operations=_LIST),
    base.Rule(name=INDEX_HOST, check=base.ADMIN, description="See the hosts in that list.", operations=_LIST),
)
