#!/bin/bash
# build.sh OUT, inside the build root: Linux from Debian's source and ./fragment into
# OUT/{zImage,modules,dtbs,config}. About 20 minutes on two cores, so it is done once for each
# fragment and kernel version; OUT is named after both.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
work=$out.work
rm -rf "$out" "$work"
mkdir -p "$work" "$out/dtbs"
tar -xf /usr/src/linux-source-6.12.tar.xz -C "$work" --strip-components=1
export ARCH=arm CROSS_COMPILE=arm-linux-gnueabihf-
# The same input gives the same kernel.
export KBUILD_BUILD_USER=bramble KBUILD_BUILD_HOST=bramble KBUILD_BUILD_VERSION=1
KBUILD_BUILD_TIMESTAMP="@$(stat -c %Y /usr/src/linux-source-6.12.tar.xz)"
export KBUILD_BUILD_TIMESTAMP
export KCFLAGS="-fmacro-prefix-map=$work=linux"

cd "$work"
make -s bcm2835_defconfig
scripts/kconfig/merge_config.sh -m .config "$here/fragment" >/dev/null
make -s olddefconfig
# A line that did not take effect is a driver that is missing on somebody's board.
missing=0
while read -r line; do
    case $line in
    CONFIG_*=*) grep -qxF -- "$line" .config || { echo "kernel: not set: $line" >&2; missing=1; } ;;
    '# CONFIG_'*' is not set')
        option=${line#\# } option=${option%% *}
        ! grep -q "^$option=" .config || { echo "kernel: still set: $option" >&2; missing=1; } ;;
    esac
done <"$here/fragment"
[ $missing -eq 0 ] || exit 1

make -s -j"$(nproc)" zImage modules dtbs
make -s modules_install INSTALL_MOD_PATH="$out/modules" INSTALL_MOD_STRIP=1
rm -f "$out"/modules/lib/modules/*/{build,source}
for board in bcm2836-rpi-2-b bcm2837-rpi-3-b bcm2837-rpi-3-b-plus bcm2837-rpi-zero-2-w bcm2711-rpi-4-b; do
    cp "arch/arm/boot/dts/broadcom/$board.dtb" "$out/dtbs/"
done
cp .config "$out/config"
cp COPYING "$out/COPYING"
# Last: what is there with a kernel in it is whole.
cp arch/arm/boot/zImage "$out/zImage"
rm -rf "$work"
