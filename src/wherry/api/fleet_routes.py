# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of routes about what is around servers: services, hypervisors, zones, limits, groups."""

from __future__ import annotations

from wherry.api.handlers import hypervisors, limits, server_groups, services, zones
from wherry.api.routing import Concern, Route
from wherry.api.schemas import hypervisors as hypervisor_schemas
from wherry.api.schemas import limits as limit_schemas
from wherry.api.schemas import server_groups as server_group_schemas
from wherry.api.schemas import services as service_schemas
from wherry.api.schemas import zones as zone_schemas
from wherry.api.views import hypervisors as hypervisor_views
from wherry.api.views import limits as limit_views
from wherry.api.views import server_groups as server_group_views
from wherry.api.views import services as service_views
from wherry.api.views import zones as zone_views
from wherry.policies import hypervisors as hypervisor_policies
from wherry.policies import limits as limit_policies
from wherry.policies import server_groups as server_group_policies
from wherry.policies import services as service_policies
from wherry.policies import zones as zone_policies

ROUTES: tuple[Route, ...] = (
    # ----------------------------------------------------------------- services
    Route(
        method="GET",
        path="/os-services",
        handler=services.list_services,
        policy=service_policies.LIST,
        query=service_schemas.LIST,
        view=service_views.index,
        summary="List the services.",
    ),
    Route(
        method="PUT",
        path="/os-services/{service_id}",
        last="2.52",
        handler=services.update_service_by_name,
        policy=service_policies.UPDATE,
        body=service_schemas.UPDATE_BY_NAME,
        view=service_views.updated_by_name,
        summary="Enable or disable a service, or declare its host dead; the path names which.",
    ),
    Route(
        method="PUT",
        path="/os-services/{service_id}",
        first="2.53",
        handler=services.update_service,
        policy=service_policies.UPDATE,
        body=service_schemas.UPDATE,
        view=service_views.updated,
        summary="Enable or disable a service, or declare its host dead.",
    ),
    Route(
        method="DELETE",
        path="/os-services/{service_id}",
        handler=services.delete_service,
        policy=service_policies.DELETE,
        status=204,
        errors=(409,),
        summary="Remove a service, and with it its host.",
    ),
    # -------------------------------------------------------------- hypervisors
    Route(
        method="GET",
        path="/os-hypervisors",
        handler=hypervisors.list_hypervisors,
        policy=hypervisor_policies.LIST,
        query=hypervisor_schemas.LIST,
        view=hypervisor_views.index,
        summary="List the hypervisors.",
    ),
    Route(
        method="GET",
        path="/os-hypervisors/detail",
        handler=hypervisors.list_hypervisors,
        policy=hypervisor_policies.LIST_DETAIL,
        query=hypervisor_schemas.LIST,
        view=hypervisor_views.detail,
        summary="List the hypervisors with details.",
    ),
    Route(
        method="GET",
        path="/os-hypervisors/{hypervisor_id}",
        handler=hypervisors.show_hypervisor,
        policy=hypervisor_policies.SHOW,
        query=hypervisor_schemas.SHOW,
        view=hypervisor_views.show,
        summary="Show a hypervisor.",
    ),
    Route(
        method="GET",
        path="/os-hypervisors/{hypervisor_id}/search",
        last="2.52",
        handler=hypervisors.search_hypervisors,
        policy=hypervisor_policies.SEARCH,
        query=hypervisor_schemas.OLD,
        view=hypervisor_views.found,
        summary="Find hypervisors by a part of their host name, which the path names.",
    ),
    Route(
        method="GET",
        path="/os-hypervisors/{hypervisor_id}/servers",
        last="2.52",
        handler=hypervisors.search_hypervisors,
        policy=hypervisor_policies.SERVERS,
        query=hypervisor_schemas.OLD,
        view=hypervisor_views.found,
        summary="The same with the servers of each.",
    ),
    Route(
        method="GET",
        path="/os-hypervisors/{hypervisor_id}/uptime",
        last="2.87",
        handler=hypervisors.show_uptime,
        policy=hypervisor_policies.UPTIME,
        query=hypervisor_schemas.OLD,
        view=hypervisor_views.uptime,
        summary="Say how long a hypervisor's machine has been up, where its driver can know.",
    ),
    Route(
        method="GET",
        path="/os-hypervisors/statistics",
        last="2.87",
        handler=hypervisors.add_up,
        policy=hypervisor_policies.STATISTICS,
        query=hypervisor_schemas.OLD,
        view=hypervisor_views.statistics,
        summary="Add up what the hypervisors have.",
    ),
    # ---------------------------------------------------- zones and aggregates
    Route(
        method="GET",
        path="/os-availability-zone",
        handler=zones.list_zones,
        policy=zone_policies.ZONES,
        query=zone_schemas.LIST,
        view=zone_views.index,
        summary="List the availability zones.",
    ),
    Route(
        method="GET",
        path="/os-availability-zone/detail",
        handler=zones.list_zones,
        policy=zone_policies.ZONES_DETAIL,
        query=zone_schemas.LIST,
        view=zone_views.detail,
        summary="List the availability zones with their hosts.",
    ),
    Route(
        method="GET",
        path="/os-aggregates",
        handler=zones.list_aggregates,
        policy=zone_policies.AGGREGATES,
        query=zone_schemas.LIST,
        view=zone_views.aggregates,
        summary="List the aggregates, of which there are none.",
    ),
    Route(
        method="GET",
        path="/os-aggregates/{aggregate_id}",
        handler=zones.show_aggregate,
        policy=zone_policies.AGGREGATE,
        query=zone_schemas.LIST,
        view=zone_views.aggregates,
        summary="Show an aggregate: always a 404.",
    ),
    # ------------------------------------------------------------------- limits
    Route(
        method="GET",
        path="/limits",
        handler=limits.show_limits,
        policy=limit_policies.SHOW,
        query=limit_schemas.SHOW,
        view=limit_views.show,
        summary="Show what a project uses; there are no limits.",
    ),
    # ------------------------------------------------------------- server groups
    Route(
        method="GET",
        path="/os-server-groups",
        handler=server_groups.list_groups,
        policy=server_group_policies.INDEX,
        query=server_group_schemas.LIST,
        view=server_group_views.index,
        summary="List server groups.",
    ),
    Route(
        method="POST",
        path="/os-server-groups",
        handler=server_groups.create_group,
        policy=server_group_policies.CREATE,
        body=server_group_schemas.CREATE,
        view=server_group_views.show,
        summary="Make a server group.",
    ),
    Route(
        method="GET",
        path="/os-server-groups/{group_id}",
        handler=server_groups.show_group,
        policy=server_group_policies.SHOW,
        concern=Concern.GROUP,
        query=server_group_schemas.SHOW,
        view=server_group_views.show,
        summary="Show a server group with its members.",
    ),
    Route(
        method="DELETE",
        path="/os-server-groups/{group_id}",
        handler=server_groups.delete_group,
        policy=server_group_policies.DELETE,
        concern=Concern.GROUP,
        status=204,
        summary="Delete a server group.",
    ),
    Route(
        method="POST",
        path="/os-server-groups/{group_id}/action",
        first="2.1000",
        action="add_server",
        handler=server_groups.add_server,
        policy=server_group_policies.UPDATE,
        concern=Concern.GROUP,
        body=server_group_schemas.ADD_SERVER,
        view=server_group_views.show,
        errors=(409,),
        summary="Put a server into a server group.",
    ),
    Route(
        method="POST",
        path="/os-server-groups/{group_id}/action",
        first="2.1000",
        action="remove_server",
        handler=server_groups.remove_server,
        policy=server_group_policies.UPDATE,
        concern=Concern.GROUP,
        body=server_group_schemas.REMOVE_SERVER,
        view=server_group_views.show,
        summary="Take a server out of a server group.",
    ),
)
