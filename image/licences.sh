#!/bin/bash
# licences.sh OUT KERNEL BOOT, inside the build root: lists everything that is shipped with its
# version, licence and source, and puts list, texts and the offer of the sources on the card.
set -euo pipefail
out=$1 kernel=$2 boot=$3
texts=$out/licences
rm -rf "$texts"
mkdir -p "$texts/debian" "$texts/crates"

{
    echo "Bramble $VERSION: what is on this card"
    echo
    echo "Bramble itself: MIT OR Apache-2.0."
    echo "Linux: GPL-2.0 WITH Linux-syscall-note, from Debian's linux-source-6.12" \
        "$(dpkg-query -W --showformat='${Version}' linux-source-6.12), options in kernel-config."
    echo
    echo "Debian packages (package, version, source package and version; texts in debian/):"
    sed 's/^/  /' "$out/packages/versions"
    echo
    echo "Rust crates in the program (crate, version, licence; texts in crates/):"
} >"$texts/LIST.txt"
while read -r name _; do
    cp -L "$out/packages/system/usr/share/doc/$name/copyright" "$texts/debian/$name" 2>/dev/null ||
        echo "licences: $name has no copyright file" >&2
done <"$out/packages/versions"
cp "$kernel/COPYING" "$texts/linux-COPYING"
cp "$kernel/config" "$texts/kernel-config"
cp "$out/packages/system/usr/lib/raspi-firmware/"LICENCE* "$texts/" 2>/dev/null || true

# Crates: what cargo says is linked for the board, with the texts that lie beside their sources.
cd /src
cargo tree --offline --locked -p bramble --target armv7-unknown-linux-gnueabihf -e normal \
    --prefix none --format '{p}|{l}' | sed 's/ (\*)$//; s/ (proc-macro)//' | sort -u |
    while IFS='|' read -r package licence; do
        read -r name version path <<<"$package"
        [ -z "$path" ] || continue # our own
        version=${version#v}
        echo "  $name $version ${licence:-unknown}" >>"$texts/LIST.txt"
        for directory in /cargo/registry/src/*/"$name-$version"; do
            for file in "$directory"/{LICEN[CS]E,COPYING,COPYRIGHT,UNLICENSE,NOTICE}*; do
                [ ! -f "$file" ] || cp "$file" "$texts/crates/$name-$version-$(basename "$file")"
            done
        done
    done

cat >"$texts/SOURCES.txt" <<'OFFER'
The sources of everything on this card that is under the GPL or LGPL are Debian's source packages
of exactly the versions in LIST.txt, to be had from any Debian mirror and its archive, together
with Bramble's repository, which holds the kernel's options and every step of the build.
Whoever gives this card to others must pass this offer on, or the sources themselves.
OFFER
mkdir -p "$boot/licences"
cp "$texts/LIST.txt" "$texts/SOURCES.txt" "$boot/licences/"
tar -C "$texts" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c . |
    zstd -q -19 -f -o "$boot/licences/texts.tar.zst"
