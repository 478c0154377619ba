# SPDX-License-Identifier: Apache-2.0
"""Who is calling: the request context, and the strategies that establish it.

Says nothing about what a caller may do (`policies/`) and knows no web framework: a strategy reads plain headers.
"""
