# SPDX-License-Identifier: Apache-2.0
"""How the processes talk: typed messages, a client and a server over an exchangeable transport."""
