# Chooses the slot and starts it. Formats: appliance/firmware/src/{state,slot}.rs.
#
# Two copies of the state lie in sectors 0x40 and 0x41, before the first partition; the newer
# valid one counts and the older one is overwritten, so that a torn write loses nothing. Tries are
# counted here and not in the kernel: a kernel that hangs has used one up as well.

setenv state 0x00100000
setenv older 0x00100200
setenv lba_older 41
setenv sum 0x00101000
setenv want 0x00101010
setenv header 0x00102000
setenv kernel 0x01000000
setenv initrd 0x02800000
# The kernel cannot read a RAM disk outside its direct mapping, so it stays where it was loaded,
# and nothing else goes above 256 MiB either.
setenv initrd_high ffffffff
setenv bootm_size 0x10000000

# The CRC-32 of ${len} bytes at ${at}, compared with the little-endian one at ${is}.
setenv check 'setenv good 0; crc32 ${at} ${len} ${sum}; setexpr.l have *${sum}; setexpr.l should *${is}; if itest ${have} == ${should}; then setenv good 1; fi'
setenv check_state 'setenv at ${p}; setenv len 1c; setexpr is ${p} + 1c; run check; if itest.l *${p} != 31535242; then setenv good 0; fi'

setenv active 0
setenv left 0
if mmc read 0x00100000 40 2; then
  setenv p 0x00100000; run check_state; setenv good_a ${good}
  setenv p 0x00100200; run check_state; setenv good_b ${good}
  setexpr.b seq_a *0x00100004
  setexpr.b seq_b *0x00100204
  setexpr ahead ${seq_b} - ${seq_a}
  setexpr ahead ${ahead} \& ff
  setenv newer_b 0
  if itest ${ahead} != 0 && itest ${ahead} < 80; then setenv newer_b 1; fi
  if itest ${good_a} == 0; then setenv newer_b 1; fi
  if itest ${good_b} == 0; then setenv newer_b 0; fi
  if itest ${newer_b} == 1; then
    setenv state 0x00100200; setenv older 0x00100000; setenv lba_older 40
  fi
  if itest ${good_a} == 1 || itest ${good_b} == 1; then
    setexpr f ${state} + 5; setexpr.b active *${f}
    setexpr f ${state} + 6; setexpr.b trial *${f}
    setexpr f ${state} + 7; setexpr.b left *${f}
  else
    echo "bramble: no state, starting slot a"
  fi
fi

setenv slot ${active}
setenv tried
if itest ${left} != 0; then
  setenv slot ${trial}
  setenv tried " bramble.trial=1"
  # One try fewer, in the older copy.
  cp.b ${state} ${older} 200
  setexpr left ${left} - 1
  setexpr f ${older} + 7; mw.b ${f} ${left} 1
  setexpr f ${state} + 4; setexpr.b seq *${f}
  setexpr seq ${seq} + 1
  setexpr seq ${seq} \& ff
  setexpr f ${older} + 4; mw.b ${f} ${seq} 1
  crc32 ${older} 1c ${sum}
  setexpr.l have *${sum}
  setexpr f ${older} + 1c; mw.l ${f} ${have} 1
  mmc write ${older} ${lba_older} 1
  echo "bramble: slot ${slot} on trial, ${left} tries left"
fi

# Arguments for the emulator, and for those who know what they do.
setenv extra_args
if fatload mmc 0:1 ${header} emulator.txt; then env import -t ${header} ${filesize} extra_args; fi

# Memory that outlives a restart, for the last words of a crash.
fdt addr ${fdt_addr}
fdt resize 2000
fdt get value cells / "#address-cells"
setenv keep /reserved-memory/ramoops@b000000
fdt mknode /reserved-memory ramoops@b000000
fdt set ${keep} compatible ramoops
if itest ${cells} == 2; then
  fdt set ${keep} reg <0x0 0x0b000000 0x00100000>
else
  fdt set ${keep} reg <0x0b000000 0x00100000>
fi
fdt set ${keep} record-size <0x10000>
fdt set ${keep} console-size <0x40000>
fdt set ${keep} pmsg-size <0x40000>

# Starts slot ${slot}; comes back if it is not whole.
setenv read_part 'mmc read ${to} ${from} ${sectors}; setenv at ${to}; run check'
setenv start 'if itest ${slot} == 1; then setenv name b; part start mmc 0 3 base; else setenv name a; part start mmc 0 2 base; fi; mmc read ${header} ${base} 1; setenv at ${header}; setenv len 1fc; setexpr is ${header} + 1fc; run check; if itest.l *${header} != 4c535242; then setenv good 0; fi; if itest ${good} == 1; then run start_parts; else echo "bramble: slot ${name} is empty or damaged"; fi'
setenv start_parts 'setexpr f ${header} + 8; setexpr.l from *${f}; setexpr from ${from} + ${base}; setexpr f ${header} + c; setexpr.l sectors *${f}; setexpr f ${header} + 10; setexpr.l len *${f}; setexpr is ${header} + 14; setenv to ${kernel}; run read_part; if itest ${good} == 1; then run start_initrd; else echo "bramble: the kernel in slot ${name} is damaged"; fi'
setenv start_initrd 'setexpr f ${header} + 18; setexpr.l from *${f}; setexpr from ${from} + ${base}; setexpr f ${header} + 1c; setexpr.l sectors *${f}; setexpr f ${header} + 20; setexpr.l len *${f}; setexpr is ${header} + 24; setenv to ${initrd}; run read_part; if itest ${good} == 1; then run go; else echo "bramble: the root in slot ${name} is damaged"; fi'
setenv go 'setenv bootargs "console=tty1 console=ttyS1,115200 console=ttyAMA0,115200 loglevel=4 panic=10 bramble.slot=${name}${tried} ${extra_args}"; echo "bramble: starting slot ${name}"; bootz ${kernel} ${initrd}:${len} ${fdt_addr}'

run start
# Still here: the other one, not on trial.
setenv tried " bramble.fallback=1"
if itest ${slot} == 1; then setenv slot 0; else setenv slot 1; fi
run start
echo "bramble: neither slot can be started; flash the card again"
sleep 30
reset
