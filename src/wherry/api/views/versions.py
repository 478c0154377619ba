# SPDX-License-Identifier: Apache-2.0
"""Version documents, from which clients choose their microversion. They say what is served, and nothing of the fleet."""

from __future__ import annotations

from typing import Any

from wherry.api import microversions, paths

_MEDIA_TYPE = "application/vnd.openstack.compute+json;version="
#: Dates of Nova's documents; clients only check that they are dates.
_V2_UPDATED = "2011-01-21T11:33:21Z"
_V21_UPDATED = "2013-07-23T11:33:21Z"


def versions(base: str) -> dict[str, Any]:
    """Give the document of GET /."""
    return {"versions": [_legacy(base), _current(base)]}


def version(base: str, *, is_legacy: bool) -> dict[str, Any]:
    """Give the document of GET /v2.1 or GET /v2."""
    document = _legacy(base) if is_legacy else _current(base)
    document["media-types"] = _media_types("2" if is_legacy else "2.1")
    document["links"].append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
    return {"version": document}


def choices(base: str, path: str) -> dict[str, Any]:
    """Give the document of a path without a version."""
    return {
        "choices": [
            {
                "id": identity,
                "status": status,
                "links": [{"rel": "self", "href": f"{base}{prefix}{path}"}],
                "media-types": _media_types(media_version),
            }
            for identity, status, prefix, media_version in (
                ("v2.0", "DEPRECATED", paths.LEGACY_PREFIX, "2"),
                ("v2.1", "CURRENT", paths.PREFIX, "2.1"),
            )
        ]
    }


def _legacy(base: str) -> dict[str, Any]:
    return {
        "id": "v2.0",
        "status": "DEPRECATED",
        "version": "",
        "min_version": "",
        "updated": _V2_UPDATED,
        "links": [{"rel": "self", "href": f"{base}{paths.LEGACY_PREFIX}/"}],
    }


def _current(base: str) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(microversions.MAXIMUM),
        "min_version": str(microversions.MINIMUM),
        "updated": _V21_UPDATED,
        "links": [{"rel": "self", "href": f"{base}{paths.PREFIX}/"}],
    }


def _media_types(media_version: str) -> list[dict[str, str]]:
    return [{"base": "application/json", "type": f"{_MEDIA_TYPE}{media_version}"}]
