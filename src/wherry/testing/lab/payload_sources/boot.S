/* SPDX-License-Identifier: Apache-2.0 */
/* A boot sector: counts its boots in the disk's second sector, writes a pattern far behind at the first and reads it again at each
   other one, and tells the serial console. Then it halts for ever. */

    .set PATTERN_BYTES, 0x8000
    .set PATTERN_SECTOR, 0x100000
    .set PATTERN_SEGMENT, 0x1000

    .code16
    .section .text
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movb %dl, drive
    sti
    cld

    movw $begin, %si
    call print

    movw $0x0201, %ax
    call second_sector
    jc failed
    incw 0x7e00
    movw $0x0301, %ax
    call second_sector
    jc failed

    /* Each word of the pattern is its own address, inverted. */
    movw $PATTERN_SEGMENT, %ax
    movw %ax, %es
    xorw %di, %di
    cmpw $1, 0x7e00
    jne 2f
1:  movw %di, %ax
    notw %ax
    stosw
    cmpw $PATTERN_BYTES, %di
    jne 1b
    movw $0x4300, %ax
    call pattern
    jc failed
    movw $written, %si
    jmp 5f
2:  movw $0x4200, %ax
    call pattern
    jc failed
3:  movw %di, %ax
    notw %ax
    scasw
    jne 4f
    cmpw $PATTERN_BYTES, %di
    jne 3b
    movw $whole, %si
    jmp 5f
4:  movw $lost, %si
5:  call print

    movw $told, %si
    call print
    movw 0x7e00, %ax
    call decimal
    movw $line, %si
    call print
    jmp halted

failed:
    movw $wrong, %si
    call print
halted:
    hlt
    jmp halted

/* Reads or writes, as ax says, the second sector from or to 0x7e00; carry when it cannot. */
second_sector:
    movw $0x7e00, %bx
    movw $0x0002, %cx
    xorb %dh, %dh
    movb drive, %dl
    int $0x13
    ret

/* Reads or writes the pattern, as ax says; carry when it cannot. */
pattern:
    movw $packet, %si
    movb drive, %dl
    int $0x13
    ret

/* Writes ax as a decimal number. */
decimal:
    movw $10, %bx
    xorw %cx, %cx
1:  xorw %dx, %dx
    divw %bx
    pushw %dx
    incw %cx
    testw %ax, %ax
    jnz 1b
2:  popw %ax
    addb $'0', %al
    call put
    loop 2b
    ret

/* Writes the text at si, up to its zero. */
print:
    lodsb
    testb %al, %al
    jz 1f
    call put
    jmp print
1:  ret

/* Writes al to the first serial port, when that is ready. */
put:
    pushw %dx
    movb %al, %ah
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    movb %ah, %al
    movw $0x3f8, %dx
    outb %al, %dx
    popw %dx
    ret

begin: .asciz "Wherry's guest starts\r\n"
written: .asciz "pattern written\r\n"
whole: .asciz "pattern whole\r\n"
lost:  .asciz "pattern lost\r\n"
told:  .asciz "boot "
line:  .asciz "\r\n"
wrong: .asciz "the disk cannot be read or written\r\n"
drive: .byte 0
/* What the BIOS is to transfer: how much, to or from where, and the first sector. */
packet: .byte 16, 0
    .word PATTERN_BYTES / 512, 0, PATTERN_SEGMENT
    .long PATTERN_SECTOR, 0

    .org 510
    .word 0xaa55
