# SPDX-License-Identifier: Apache-2.0
"""What ends the demo early. Must not be used for a claim that turned out false: that is a fact, and is shown as one."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot go on; the message is for a person and says what was seen."""
