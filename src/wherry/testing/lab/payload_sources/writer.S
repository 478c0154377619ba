/* SPDX-License-Identifier: Apache-2.0
 *
 * Write one word of each page of the region, in order, again and again; PAGES and RATE_PAGES_PER_SECOND (0: as fast as it can) are defined outside.
 * The word is the page's own count of passes. So at any instant the counts are p+1 for the first pages and p for the rest: a page that lost a
 * write stays behind for ever, which is why it is incremented and not set. With VERIFY each page is checked before it is written.
 */
#include "start.S"

payload:
#if RATE_PAGES_PER_SECOND
    call clock_start
    xor %ebp, %ebp                      /* pages we may write, times TICKS_PER_SECOND */
#endif
pass:
    mov $REGION, %edi
    xor %ecx, %ecx                      /* index of the page */
page:
#if RATE_PAGES_PER_SECOND
1:  cmp $TICKS_PER_SECOND, %ebp
    jge 2f
    call clock_wait
    imul $RATE_PAGES_PER_SECOND, %eax, %eax
    add %eax, %ebp
    jmp 1b
2:  sub $TICKS_PER_SECOND, %ebp
#endif
#if VERIFY
    mov PASSES, %eax
    cmp %eax, (%edi)
    jne bad
    test %eax, %eax
    jz good                             /* the index is written in the first pass */
    cmp %ecx, 4(%edi)
    je good
bad:
    cmpl $0, ERRORS
    jne 3f
    mov %ecx, FIRST_BAD_PAGE
3:  incl ERRORS
    mov %eax, (%edi)                    /* count each fault once */
good:
    mov %ecx, 4(%edi)
#endif
    incl (%edi)
    addl $1, PAGES_LOW
    adcl $0, PAGES_HIGH
    add $PAGE, %edi
    inc %ecx
    cmp $PAGES, %ecx
    jb page
    incl PASSES
    jmp pass
