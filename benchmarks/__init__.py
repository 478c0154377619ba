# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: programs that measure, print a summary and keep their samples with the facts of the machine."""

from __future__ import annotations
