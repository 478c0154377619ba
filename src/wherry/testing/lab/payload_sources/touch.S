/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest that fills its pages once, each with a content of its own, and then rests: a known amount to copy.
 */
#define PAYLOAD_KIND 3
#include "start.S"

payload:
    mov $REGION, %edi
    xor %ecx, %ecx
page:
    imul $0x9e3779b1, %ecx, %eax
    or $1, %eax
    mov %eax, (%edi)
    mov %ecx, 4(%edi)
    not %eax
    mov %eax, (PAGE - 4)(%edi)
    addl $1, PAGES_LOW
    add $PAGE, %edi
    inc %ecx
    cmp $PAGES, %ecx
    jb page
    movl $1, PASSES
    movl $STATE_DONE, STATE
    jmp rest
