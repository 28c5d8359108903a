#!/bin/bash
# packages.sh OUT, inside the build root: unpacks the Debian packages of the card into OUT/system
# and notes in OUT/versions what they are and which source they were built from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
read_first() { grep -v '^#' "$1" | awk '{print $1}' | sort -u; }

programs=$(read_first "$here/programs" | sed 's/$/:armhf/')
# shellcheck disable=SC2086 # a list
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances $programs |
    sed -nE 's/^((lib|zlib)[^ ]*):armhf$/\1:armhf/p' | sort -u)
files=$(read_first "$here/firmware")

rm -rf "$out"
mkdir -p "$out/debs" "$out/system"
cd "$out/debs"
# shellcheck disable=SC2086 # lists
apt-get download -qq -o APT::Sandbox::User=root $programs $libraries $files u-boot-rpi:armhf raspi-firmware
for deb in *.deb; do
    dpkg-deb -x "$deb" "$out/system"
    dpkg-deb -W --showformat='${Package} ${Version} ${source:Package} ${source:Version}\n' "$deb"
done >"$out/versions"
rm -rf "$out/debs"
# Debian ships the rules of the air twice; the kernel knows the key of upstream's.
for file in regulatory.db regulatory.db.p7s; do
    mv "$out/system/usr/lib/firmware/$file-upstream" "$out/system/usr/lib/firmware/$file"
done
