/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest that answers "I ran": it writes 33 to the debug-exit port, which ends QEMU with 67.
 */
#define PAYLOAD_KIND 5
#include "start.S"

payload:
    mov $33, %eax
    mov $0xf4, %dx
    out %eax, %dx
    jmp rest
