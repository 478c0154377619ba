# SPDX-License-Identifier: Apache-2.0
"""The one way in for XML: what a libvirt wrote, here or on another host, whose agent may be in the wrong hands. Understands none of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from wherry import errors

#: Longest text that libvirt itself carries in a call, in bytes: REMOTE_STRING_MAX of its protocol.
MOST_BYTES = 4 << 20
#: What may stand before the first element: no more than a declaration. A DOCTYPE, which alone can declare entities, could only be there.
_BEGIN = re.compile(r"\ufeff?\s*(?:<\?xml [^>]*\?>)?\s*<[^!?/\s>]")


def parse(text: str) -> ET.Element:
    """Give the root element.

    :raises DefinitionUnreadable: it is too long, is no XML, or begins with anything but an element, as libvirt's XML always does.
    """
    # Counted without encoding it: a character has four bytes at most.
    if len(text) > MOST_BYTES // 4 and len(text.encode(errors="replace")) > MOST_BYTES:
        raise errors.DefinitionUnreadable(detail=f"it is longer than {MOST_BYTES >> 20} MiB")
    if _BEGIN.match(text) is None:
        raise errors.DefinitionUnreadable(detail="it does not begin with an element; a DOCTYPE is never read")
    try:
        return ET.fromstring(text)  # noqa: S314 - no entity can be declared without a DOCTYPE
    except (ET.ParseError, ValueError) as error:
        # ValueError: it has characters that no encoding has.
        raise errors.DefinitionUnreadable(detail=str(error)) from error
