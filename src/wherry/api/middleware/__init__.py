# SPDX-License-Identifier: Apache-2.0
"""Layers around the dispatcher, each with one concern; `api/app.py` says in which order and why. None reads a body's meaning."""
