# SPDX-License-Identifier: Apache-2.0
"""One repository a noun. They read and write rows and give back frozen records; no other code does either."""
