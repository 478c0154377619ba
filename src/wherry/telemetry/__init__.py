# SPDX-License-Identifier: Apache-2.0
"""Logs and metrics.

Takes part in no decision: nothing may depend on whether a line was written or a number counted.
"""
