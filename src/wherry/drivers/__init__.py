# SPDX-License-Identifier: Apache-2.0
"""Hypervisor drivers. `base` is the contract; each package beside it is one hypervisor and imports no other."""
