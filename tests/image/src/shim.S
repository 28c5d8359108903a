@ Stands before U-Boot when QEMU's raspi2b starts it, in the place of the Pi's own firmware.
@
@ QEMU loads a raw -kernel at 0x10000 and enters it on processor 0 with r2 = device tree. U-Boot
@ is linked for 0x8000, where the Pi's firmware puts it. The other three processors meanwhile
@ spin on a mailbox register, and every look at it takes QEMU's one big lock: they are sent to
@ sleep. Page 0 is theirs: the Pi's device trees reserve it.

    .arm
    .equ    sleepers, 0x800             @ where processors 1 to 3 end up
    .equ    mover, 0x900                @ the copy loop runs here, out of the payload's way
    .equ    linked, 0x8000
    .equ    most, 0x180000              @ more than any U-Boot
    .equ    mailbox3_set, 0x4000009c    @ of processor 1; the others' follow, 16 bytes apart

start:
    ldr     r4, =sleepers
    ldr     r5, =0xe320f003             @ wfi
    str     r5, [r4]
    ldr     r5, =0xeafffffd             @ b to the wfi before it
    str     r5, [r4, #4]
    dsb
    isb
    ldr     r6, =mailbox3_set
    str     r4, [r6]
    str     r4, [r6, #0x10]
    str     r4, [r6, #0x20]

    ldr     r7, =mover
    adr     r8, move
    adr     r9, move_end
1:  ldr     r10, [r8], #4
    str     r10, [r7], #4
    cmp     r8, r9
    blo     1b
    dsb
    isb

    adrl    r8, payload
    ldr     r9, =most
    add     r9, r8, r9
    ldr     r7, =linked
    ldr     r12, =mover
    bx      r12

move:                                   @ r2 stays as it is
    ldmia   r8!, {r3, r4, r5, r6}
    stmia   r7!, {r3, r4, r5, r6}
    cmp     r8, r9
    blo     move
    mov     r12, #0x8000
    dsb
    isb
    bx      r12
move_end:
    .ltorg
    .balign 4096
payload:
