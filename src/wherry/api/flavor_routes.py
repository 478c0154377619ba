# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of routes about flavors and their extra specs."""

from __future__ import annotations

from wherry.api.handlers import flavor_extra_specs, flavors
from wherry.api.routing import Route
from wherry.api.schemas import flavors as schemas
from wherry.api.views import flavors as views
from wherry.policies import flavor_extra_specs as extra_spec_policies
from wherry.policies import flavors as policies

_SPECS = "/flavors/{flavor_id}/os-extra_specs"

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/flavors",
        handler=flavors.list_flavors,
        policy=policies.READ,
        query=schemas.LIST,
        view=views.index,
        summary="List the flavors, and the sizes of guests that were found.",
    ),
    Route(
        method="GET",
        path="/flavors/detail",
        handler=flavors.list_flavors,
        policy=policies.READ,
        query=schemas.LIST,
        view=views.detail,
        summary="List the flavors, and the sizes of guests that were found, with details.",
    ),
    Route(
        method="POST",
        path="/flavors",
        handler=flavors.create_flavor,
        policy=policies.CREATE,
        body=schemas.CREATE,
        view=views.show,
        errors=(409,),
        summary="Make a flavor.",
    ),
    Route(
        method="GET",
        path="/flavors/{flavor_id}",
        handler=flavors.show_flavor,
        policy=policies.READ,
        query=schemas.SHOW,
        view=views.show,
        summary="Show a flavor.",
    ),
    Route(
        method="PUT",
        path="/flavors/{flavor_id}",
        first="2.55",
        handler=flavors.update_flavor,
        policy=policies.UPDATE,
        body=schemas.UPDATE,
        view=views.show,
        summary="Describe a flavor.",
    ),
    Route(
        method="DELETE",
        path="/flavors/{flavor_id}",
        handler=flavors.delete_flavor,
        policy=policies.DELETE,
        status=202,
        summary="Delete a flavor; servers made from it keep what they have.",
    ),
    Route(
        method="GET",
        path=_SPECS,
        handler=flavors.show_flavor,
        policy=extra_spec_policies.INDEX,
        query=schemas.SHOW,
        view=views.extra_specs,
        summary="Show the extra specs of a flavor.",
    ),
    Route(
        method="POST",
        path=_SPECS,
        handler=flavor_extra_specs.create_extra_specs,
        policy=extra_spec_policies.CREATE,
        body=schemas.CREATE_EXTRA_SPECS,
        view=views.extra_specs,
        summary="Add extra specs to a flavor.",
    ),
    Route(
        method="GET",
        path=_SPECS + "/{key}",
        handler=flavor_extra_specs.show_extra_spec,
        policy=extra_spec_policies.SHOW,
        query=schemas.SHOW,
        view=views.extra_spec,
        summary="Show one extra spec of a flavor.",
    ),
    Route(
        method="PUT",
        path=_SPECS + "/{key}",
        handler=flavor_extra_specs.update_extra_spec,
        policy=extra_spec_policies.UPDATE,
        body=schemas.UPDATE_EXTRA_SPEC,
        view=views.extra_spec,
        summary="Set one extra spec of a flavor.",
    ),
    Route(
        method="DELETE",
        path=_SPECS + "/{key}",
        handler=flavor_extra_specs.delete_extra_spec,
        policy=extra_spec_policies.DELETE,
        summary="Delete one extra spec of a flavor.",
    ),
)
