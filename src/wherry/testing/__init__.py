# SPDX-License-Identifier: Apache-2.0
"""Shipped test support: builders, an in-process cloud, contract suites and the lab.

Must not be imported by production code.
"""
