# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of bodies and queries, one module a resource, each schema through its versions. Data only."""
