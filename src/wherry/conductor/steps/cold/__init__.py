# SPDX-License-Identifier: Apache-2.0
"""The steps of a cold migration or resize, of its confirmation, and of the way back. One file a step."""
