# SPDX-License-Identifier: Apache-2.0
"""What each operation does, one module a resource: find, authorise, record, nudge. They know no SQL and no JSON."""
