# SPDX-License-Identifier: Apache-2.0
"""The Compute API over HTTP: validates, authorises, records, nudges the conductor. Holds no state and drives no migration."""
