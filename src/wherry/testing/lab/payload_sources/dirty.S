/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest that dirties memory at a rate, for ever.
 */
#define PAYLOAD_KIND 2
#define VERIFY 0
#include "writer.S"
