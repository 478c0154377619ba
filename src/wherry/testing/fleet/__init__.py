# SPDX-License-Identifier: Apache-2.0
"""Real processes as in production: the programs of Wherry, each from a file of its own, and the servers that they need.

For tests, benchmarks and tempest. Whoever starts something here ends it, and keeps its directory for the logs when it failed.
"""
