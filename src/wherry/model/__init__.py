# SPDX-License-Identifier: Apache-2.0
"""Records and rules of live migration. Pure: no I/O, no clock, nothing of ours but `errors`."""
