# SPDX-License-Identifier: Apache-2.0
"""Discovery: version documents, and 300 for paths without a version. Answered without a token and without the database."""

from __future__ import annotations

from starlette import responses

from wherry.api import answers, faults, paths
from wherry.api.views import versions as view

_MULTIPLE_CHOICES = 300


def discover(method: str, path: str, split: paths.Split, base: str) -> responses.Response:
    """Answer a path that is no resource.

    :raises HttpFault: 405 for anything but GET and HEAD
    """
    only_read(method)
    if split.prefix:
        return answers.json_answer(view.version(base, is_legacy=split.is_legacy), 200)
    if not split.segments:
        return answers.json_answer(view.versions(base), 200)
    return answers.json_answer(view.choices(base, path), _MULTIPLE_CHOICES)


def only_read(method: str) -> None:
    """Make sure that a document is read.

    :raises HttpFault: 405 for anything but GET and HEAD
    """
    if method not in ("GET", "HEAD"):
        raise faults.HttpFault(405, f"The method {method} is not allowed here. Use one of: GET.", {"Allow": "GET"})
