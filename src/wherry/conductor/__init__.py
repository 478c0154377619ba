# SPDX-License-Identifier: Apache-2.0
"""The conductor: owns every migration from acceptance to its end, and drives it step by step."""
