/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest that dirties memory at a rate and proves to itself, page by page, that nothing it wrote was lost.
 */
#define PAYLOAD_KIND 4
#define VERIFY 1
#include "writer.S"
