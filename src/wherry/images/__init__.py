# SPDX-License-Identifier: Apache-2.0
"""Images: where they are listed and where their bytes are. Knows no server and no hypervisor."""
