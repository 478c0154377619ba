/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest that does nothing, as cheaply as possible.
 */
#define PAYLOAD_KIND 1
#include "start.S"

payload:
    jmp rest
