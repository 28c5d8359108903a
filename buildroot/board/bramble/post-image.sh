#!/bin/bash
# post-image.sh IMAGES BOARD: the card and the update bundle from the kernel, the root and the boot
# files in IMAGES, by the same tool and layout as image/card.sh. BOARD: pi2, pi3 or pi4.
set -euo pipefail
images=$1 board=$2
# shellcheck source-path=SCRIPTDIR source=identity
. "$(dirname "$0")/identity"
export SOURCE_DATE_EPOCH=$built E2FSPROGS_FAKE_TIME=$built
tool=$HOST_DIR/bin/imagetool
work=$BUILD_DIR/bramble-card
rm -rf "$work"
mkdir -p "$work/input" "$work/root/boot" "$work/root/data"

# Slot and state.
"$tool" slot --kernel "$images/zImage" --initrd "$images/rootfs.cpio.zst" --version "$version" \
    --built "$built" "$work/input/slot.bin"
"$tool" state "$work/input/state.bin" --active a

# Boot files. Of the three names of U-Boot in config.txt, this card has its own board's.
boot=$work/root/boot
cp "$images"/rpi-firmware/* "$boot/"
cp "$images/u-boot.bin" "$boot/u-boot-$board.bin"
cp "$images"/*.dtb "$boot/"
"$tool" script "$image_dir/boot/boot.cmd" "$boot/boot.scr"
mapfile -t environment < <(grep -v '^#' "$image_dir/boot/environment")
"$tool" env 0x4000 "$boot/uboot.env" "${environment[@]}"
cp "$source_dir/appliance/model/src/provision/template.toml" "$boot/bramble.toml"

# Nothing may keep the time of this build.
find "$work/root" -exec touch --no-dereference --date="@$built" {} +
genimage --config "$image_dir/genimage.cfg" --rootpath "$work/root" --tmppath "$work/tmp" \
    --inputpath "$work/input" --outputpath "$work/images" --loglevel 1
mv "$work/images/bramble.img" "$images/bramble.img"

# Kernel and root are those of every board.
"$tool" bundle --slot "$work/input/slot.bin" --key "$signing_key" --version "$version" \
    --built "$built" --board pi2 --board pi3 --board pi02 --board pi4 \
    "$images/update-$version.bramble"
(cd "$images" && sha256sum bramble.img "update-$version.bramble" >SHA256SUMS)
rm -rf "$work"
