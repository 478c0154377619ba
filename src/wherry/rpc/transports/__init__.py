# SPDX-License-Identifier: Apache-2.0
"""Ways to carry bytes between processes. What the bytes mean is the business of `rpc.client` and `rpc.server`."""
