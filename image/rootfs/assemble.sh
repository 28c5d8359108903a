#!/bin/bash
# assemble.sh SYSTEM KERNEL BINARY OUT, inside the build root: the RAM root in OUT. What is in it
# is what is listed here, in ./programs and ./firmware: no shell, no package manager.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
system=$1 kernel=$2 binary=$3 out=$4
rm -rf "$out"
mkdir -p "$out"/{dev,proc,sys,run,tmp,boot,data,etc/bramble,usr/{bin,sbin},lib/{modules,firmware}}

# The appliance is process 1 and everything else; /usr/bin/bramble is how it is called by name.
install -m 755 "$binary" "$out/init"
ln -s ../../init "$out/usr/bin/bramble"
while read -r _ program; do
    install -m 755 "$system$program" "$out$program"
done < <(grep -v '^#' "$here/programs")

# Libraries: whatever is needed, and what those need in turn.
needed() { arm-linux-gnueabihf-readelf -d "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p'; }
mkdir -p "$out/usr/lib/arm-linux-gnueabihf"
todo=("$out/init" "$out"/usr/sbin/*)
while [ ${#todo[@]} -gt 0 ]; do
    file=${todo[0]}
    todo=("${todo[@]:1}")
    for library in $(needed "$file"); do
        to=$out/usr/lib/arm-linux-gnueabihf/$library
        [ ! -e "$to" ] || continue
        from=$system/usr/lib/arm-linux-gnueabihf/$library
        [ -e "$from" ] || { echo "assemble: no $library for $file" >&2; exit 1; }
        install -m 755 "$from" "$to"
        todo+=("$to")
    done
done
# Every program names its loader by this path.
mv "$out/usr/lib/arm-linux-gnueabihf/ld-linux-armhf.so.3" "$out/lib/"
ln -s ../usr/lib/arm-linux-gnueabihf "$out/lib/arm-linux-gnueabihf"

# Modules as they were built, with the two lists that loading them takes.
cp -r "$kernel"/modules/lib/modules/* "$out/lib/modules/"
find "$out/lib/modules" -type f -name 'modules.*' -not -name modules.alias -not -name modules.dep -delete

# Firmware. A pattern that finds nothing is a radio that does not work: an error.
while read -r package patterns; do
    found=0
    for pattern in $patterns; do
        # shellcheck disable=SC2086 # a pattern
        for file in $(cd "$system/usr/lib/firmware" && ls -d $pattern 2>/dev/null); do
            mkdir -p "$out/lib/firmware/$(dirname "$file")"
            cp -L "$system/usr/lib/firmware/$file" "$out/lib/firmware/$file"
            found=1
        done
    done
    [ $found -eq 1 ] || { echo "assemble: no firmware of $package found: $patterns" >&2; exit 1; }
done < <(grep -v '^#' "$here/firmware")

ln -s /run/bramble/resolv.conf "$out/etc/resolv.conf"
printf 'root:x:0:0::/:/\nbramble:x:1936:1936::/data/bramble:/\n' >"$out/etc/passwd"
printf 'root:x:0:\nbramble:x:1936:\n' >"$out/etc/group"
printf 'hosts: files dns\n' >"$out/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$out/etc/hosts"
