# SPDX-License-Identifier: Apache-2.0
"""The tests."""

from __future__ import annotations
