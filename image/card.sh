#!/bin/bash
# card.sh OUT KERNEL, inside the build root: makes the card, its bundle and the lists that go with
# them from what the steps before have left in OUT. Everything is a function of its input:
# SOURCE_DATE_EPOCH is the time of the last commit, and file systems get fixed identities.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1 kernel=$2
: "${SOURCE_DATE_EPOCH:?} ${VERSION:?}"
export SOURCE_DATE_EPOCH
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH E2FSCK_TIME=$SOURCE_DATE_EPOCH
system=$out/packages/system
tool=$out/cargo/release/imagetool
binary=$out/cargo/armv7-unknown-linux-gnueabihf/image/bramble
work=$out/card.work
rm -rf "$work"
mkdir -p "$work/input" "$work/root/boot" "$work/root/data" "$work/tmp"

# The key that signs updates: the builder's own, or one made for this checkout.
key=$out/signing.key public=$out/signing.pub
[ -f "$key" ] || "$tool" keygen "$key" "$public"

# The RAM root.
root=$out/root
"$here/rootfs/assemble.sh" "$system" "$kernel" "$binary" "$root"
install -m 644 "$public" "$root/etc/bramble/update.pub"
printf '{"version":"%s","built_unix":%s}\n' "$VERSION" "$SOURCE_DATE_EPOCH" >"$root/etc/bramble/build.json"
"$tool" cpio "$root" "$work/root.cpio"
zstd -q -19 --long=27 -T1 -f "$work/root.cpio" -o "$out/initrd.zst"

# Slot, state and boot files.
"$tool" slot --kernel "$kernel/zImage" --initrd "$out/initrd.zst" --version "$VERSION" \
    --built "$SOURCE_DATE_EPOCH" "$work/input/slot.bin"
"$tool" state "$work/input/state.bin" --active a
boot=$work/root/boot
cp "$here/boot/config.txt" "$boot/"
cp "$system"/usr/lib/raspi-firmware/{bootcode.bin,start_cd.elf,fixup_cd.dat,start4cd.elf,fixup4cd.dat} "$boot/"
cp "$system/usr/lib/u-boot/rpi_2/u-boot.bin" "$boot/u-boot-pi2.bin"
cp "$system/usr/lib/u-boot/rpi_3_32b/u-boot.bin" "$boot/u-boot-pi3.bin"
cp "$system/usr/lib/u-boot/rpi_4_32b/u-boot.bin" "$boot/u-boot-pi4.bin"
cp "$kernel"/dtbs/*.dtb "$boot/"
"$tool" script "$here/boot/boot.cmd" "$boot/boot.scr"
mapfile -t environment < <(grep -v '^#' "$here/boot/environment")
"$tool" env 0x4000 "$boot/uboot.env" "${environment[@]}"
cp "$here/../appliance/model/src/provision/template.toml" "$boot/bramble.toml"
"$here/licences.sh" "$out" "$kernel" "$boot"

# Nothing may keep the time of this build.
find "$work/root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
genimage --config "$here/genimage.cfg" --rootpath "$work/root" --tmppath "$work/tmp" \
    --inputpath "$work/input" --outputpath "$work/images" --loglevel 1
mv "$work/images/bramble.img" "$out/bramble.img"
xz -T1 -9 -k -f "$out/bramble.img"
"$tool" bundle --slot "$work/input/slot.bin" --key "$key" --version "$VERSION" \
    --built "$SOURCE_DATE_EPOCH" --board pi2 --board pi3 --board pi02 --board pi4 "$out/update-$VERSION.bramble"
cp "$boot/u-boot-pi2.bin" "$out/u-boot-rpi2.bin"
(cd "$out" && sha256sum bramble.img bramble.img.xz "update-$VERSION.bramble" >SHA256SUMS)
"$here/sizes.sh" "$out" "$kernel" "$boot" | tee "$out/sizes.txt"
rm -rf "$work"

largest=$((64 * 1024 * 1024))
size=$(stat -c %s "$out/bramble.img.xz")
[ "$size" -le "$largest" ] || { echo "image: bramble.img.xz is $size bytes, more than 64 MiB" >&2; exit 1; }
