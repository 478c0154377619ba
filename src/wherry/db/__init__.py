# SPDX-License-Identifier: Apache-2.0
"""The records on disk: schema, units of work, repositories. The only package that imports SQLAlchemy.

Decides nothing: what may follow a status is in `model/states.py`, who drives what is the conductor's business.
"""
