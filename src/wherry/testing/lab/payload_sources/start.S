/* SPDX-License-Identifier: Apache-2.0
 *
 * What every payload begins with: the PVH note by which QEMU finds the entry, a flat segment table, the beacon and the clock.
 * A payload defines PAYLOAD_KIND, includes this file and then the label `payload`; nothing here depends on which one it is.
 */

/* The beacon: a page at a fixed address that the payload keeps and the lab reads. guest.py holds the same layout. */
#define BEACON          0x200000
#define BEACON_MAGIC    0x59524857      /* "WHRY" */
#define STATE           (BEACON + 4)
#define PASSES          (BEACON + 8)
#define PAGES_LOW       (BEACON + 12)
#define PAGES_HIGH      (BEACON + 16)
#define ERRORS          (BEACON + 20)
#define FIRST_BAD_PAGE  (BEACON + 24)
#define KIND            (BEACON + 28)
#define STATE_RUNNING   1
#define STATE_DONE      2

/* The pages that a payload writes begin here. */
#define REGION          0x1000000
#define PAGE            4096

#define TICKS_PER_SECOND 100
#define PIT_DIVISOR     11932           /* 1193182 Hz / 100 */

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18                      /* name length, value length, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .text
    .code32
    .globl _start
_start:
    cli
    cld
    mov $(BEACON - 16), %esp
    lgdt descriptor                     /* PVH leaves flat segments but no table: interrupts need one */
    ljmp $8, $segments
segments:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    movl $PAYLOAD_KIND, KIND
    movl $STATE_RUNNING, STATE
    movl $BEACON_MAGIC, BEACON
    jmp payload

/* Stop for ever, without waking: an idle guest costs no time of the host's. */
rest:
    cli
    hlt
    jmp rest

/* Count a tick for each beat of the timer (PIT channel 0 through the first PIC). */
clock_start:
    mov $interrupts, %edi
    xor %ecx, %ecx
1:  mov $beat, %eax
    mov %ax, 0x100(%edi, %ecx, 8)       /* vectors 0x20 to 0x2f */
    movw $8, 0x102(%edi, %ecx, 8)
    movw $0x8e00, 0x104(%edi, %ecx, 8)
    shr $16, %eax
    mov %ax, 0x106(%edi, %ecx, 8)
    inc %ecx
    cmp $16, %ecx
    jb 1b
    lidt interrupts_descriptor
    movl $0x1ff, 0xfee000f0             /* qboot leaves the local APIC off: on, and LINT0 passes the PIC's interrupts */
    movl $0x700, 0xfee00350
    mov $0x11, %al                      /* both PICs: vectors 0x20 and 0x28, the timer alone unmasked */
    out %al, $0x20
    out %al, $0xa0
    mov $0x20, %al
    out %al, $0x21
    mov $0x28, %al
    out %al, $0xa1
    mov $4, %al
    out %al, $0x21
    mov $2, %al
    out %al, $0xa1
    mov $1, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0xfe, %al
    out %al, $0x21
    mov $0xff, %al
    out %al, $0xa1
    mov $0x34, %al
    out %al, $0x43
    mov $(PIT_DIVISOR & 0xff), %al
    out %al, $0x40
    mov $(PIT_DIVISOR >> 8), %al
    out %al, $0x40
    ret

/* The timer's interrupt is let in at one place only, the hlt of clock_wait: so drop its frame and go there. An iret would do the same, but a
 * KVM that emulates kernel code without paging (some nested ones do) knows iret in real mode only and stops the guest. */
beat:
    add $12, %esp
    incl ticks
    mov $0x20, %al
    out %al, $0x20

/* Wait for at least one tick; their number in %eax. Interrupts are off before and after. */
clock_wait:
    mov ticks, %eax
    test %eax, %eax
    jnz 1f
    sti                                 /* takes effect after the hlt has begun: no tick is slept through */
    hlt
    jmp clock_wait
1:  movl $0, ticks
    ret

    .align 8
table:
    .quad 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
descriptor:
    .word 23
    .long table
interrupts_descriptor:
    .word 0x17f
    .long interrupts

    .data
    .align 8
ticks:
    .long 0
    .align 8
interrupts:
    .fill 0x180, 1, 0

    .text
