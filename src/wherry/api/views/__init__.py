# SPDX-License-Identifier: Apache-2.0
"""Bodies of answers, one module a resource, made from what handlers give. Pure: no database, no waiting."""
