# SPDX-License-Identifier: Apache-2.0
"""A tempest plugin: tests of live migration that tempest itself does not have.

Runs in tempest's environment, so it must not import anything of Wherry's outside this package.
"""

from __future__ import annotations
