# SPDX-License-Identifier: Apache-2.0
"""How the schema came to be as it is: Alembic revisions, run by `runner` inside a transaction of the store.

A revision's file is named NNNN_pre_… when the release before can run on its result (expand), and NNNN_post_… when it may be
applied only after the last process of that release has ended (contract). A revision never imports `schema`, which goes on changing.
"""
