# SPDX-License-Identifier: Apache-2.0
"""The commands `openstack live migration …`, a plugin of openstackclient.

Speaks the Compute API only, to Wherry or to Nova; knows nothing of the server side. Needs the extra `client`.
"""
