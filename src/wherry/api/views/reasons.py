# SPDX-License-Identifier: Apache-2.0
"""Why a migration is as it is, for those who may see hosts and for those who may not. Pure.

Callers who may not see hosts get nothing from which one could be told: no names, and reasons without them.
"""

from __future__ import annotations

import re
from typing import Any

from wherry import errors
from wherry.model import migration as model

#: First version that shows them: Nova has none.
FROM = (2, 1000)

#: What stands for the places of an error's text where the reader may not see hosts.
_VEILED = {"host": "the host", "source": "the source", "destination": "the destination"}
#: Where the text says already of what kind it is: "Compute host the host".
_TWICE = re.compile(r"\b(host|source|destination):? the \1\b", re.IGNORECASE)

#: Errors whose remedy says what to send and never names a host.
_NAMELESS_REMEDIES = frozenset({errors.CapabilityMissing.slug})


def fields(reason: model.Reason | None, *, uuid: str, shows_hosts: bool) -> dict[str, Any]:
    """Give the fields of a migration that say why.

    :param uuid: of its server
    """
    if reason is None:
        return {"reason": None, "reason_message": None, "remedy": None}
    message, remedy = (reason.message, reason.remedy) if shows_hosts else _veil(reason.slug, uuid)
    if reason.slug in _NAMELESS_REMEDIES:
        remedy = reason.remedy
    return {"reason": reason.slug, "reason_message": message, "remedy": remedy or None}


def _veil(slug: str, uuid: str) -> tuple[str, str]:
    """Write the error's text anew from its class, because the stored text may name hosts and their addresses anywhere."""
    known = errors.known_slugs().get(slug)
    if known is None:
        return slug.replace("_", " "), ""
    neutral = _Neutral(_VEILED | {"uuid": uuid})
    return _smooth(known.template.format_map(neutral)), _smooth(known.remedy_template.format_map(neutral))


def _smooth(text: str) -> str:
    once = _TWICE.sub(lambda found: found[1], text)
    return once[:1].upper() + once[1:]


class _Neutral(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "…"
