# SPDX-License-Identifier: Apache-2.0
"""The agent of one hypervisor host: runs steps through a driver, watches transfers, keeps their deadlines.

Has no database and talks to conductors only, by message; what it must remember is in its journal.
"""
