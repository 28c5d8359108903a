#!/bin/bash
# sizes.sh OUT KERNEL BOOT: how large the image is and the five things that make it so.
set -euo pipefail
out=$1 kernel=$2 boot=$3
packed() { tar -C / -c "$@" 2>/dev/null | zstd -q -19 -T2 | wc -c; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%6.2f MiB", bytes / 1048576 }'; }
echo "bramble.img.xz $(mib "$(stat -c %s "$out/bramble.img.xz")")   bramble.img $(mib "$(stat -c %s "$out/bramble.img")")"
echo "the five largest contributors, compressed (and as they are):"
for part in \
    "kernel|$kernel/zImage" \
    "the appliance|$out/root/init" \
    "libraries of wpa_supplicant and e2fsck|$out/root/usr/lib" \
    "wpa_supplicant and e2fsck|$out/root/usr/sbin" \
    "kernel modules|$out/root/lib/modules" \
    "Wi-Fi firmware|$out/root/lib/firmware" \
    "U-Boot|$boot/u-boot-pi2.bin $boot/u-boot-pi3.bin $boot/u-boot-pi4.bin" \
    "Raspberry Pi firmware|$boot/bootcode.bin $boot/start_cd.elf $boot/fixup_cd.dat $boot/start4cd.elf $boot/fixup4cd.dat" \
    "licence texts|$boot/licences"; do
    files=${part#*|}
    # shellcheck disable=SC2086 # a list
    echo "$(packed $files) $(du -scb $files | tail -1 | cut -f1) ${part%%|*}"
done | sort -rn | head -5 | while read -r small plain name; do
    echo "  $(mib "$small") ($(mib "$plain"))  $name"
done
