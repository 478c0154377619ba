# SPDX-License-Identifier: Apache-2.0
"""Deterministic simulation: the whole system on virtual time, everything going wrong that can, each run made from one seed.

`run.run` does one; `python -m wherry.testing.simulation` does many, and replays one. See docs/contributor/simulation.md.
"""
