# SPDX-License-Identifier: Apache-2.0
"""Choice of a destination: filters say which hosts may, weighers say which of them is best."""
