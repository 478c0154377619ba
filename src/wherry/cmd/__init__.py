# SPDX-License-Identifier: Apache-2.0
"""The programs: parse, load, wire, run. The only package that knows all the others."""
