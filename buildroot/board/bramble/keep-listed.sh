#!/bin/bash
# keep-listed.sh ROOT BOARD: takes everything out of the root but what is listed, here and in
# image/rootfs/{programs,firmware}: no shell, no tools, no libraries that nothing needs. ROOT is the
# copy the archive is made of, so the packages stay installed in Buildroot's own target directory.
set -euo pipefail
root=$(realpath "$1")
lists=$(realpath "$(dirname "$0")/../../../image/rootfs")
readelf=$(echo "$HOST_DIR"/bin/*-linux-gnueabihf-readelf)
cd "$root"

declare -A keep
# A file by its path from the root, with every link on the way to it.
keep() {
    local path=$1 link
    while [ -L "$path" ]; do
        keep[$path]=1
        link=$(readlink "$path")
        case $link in
        /*) path=${link#/} ;;
        *) path=$(realpath -s --relative-to=. "$(dirname "$path")/$link") ;;
        esac
    done
    [ -f "$path" ] || { echo "keep-listed: there is no $1" >&2; exit 1; }
    keep[$path]=1
}

todo=(init)
while read -r _ program; do
    todo+=("${program#/}")
done < <(grep -v '^#' "$lists/programs")
keep usr/bin/bramble

# Libraries: whatever is needed, and what those need in turn. /lib and /sbin are links into /usr.
keep[lib]=1
keep[sbin]=1
declare -A seen
while [ ${#todo[@]} -gt 0 ]; do
    file=${todo[0]}
    todo=("${todo[@]:1}")
    [ -z "${seen[$file]:-}" ] || continue
    seen[$file]=1
    keep "$file"
    while read -r library; do
        [ -e "usr/lib/$library" ] || { echo "keep-listed: no $library for $file" >&2; exit 1; }
        todo+=("usr/lib/$library")
    done < <("$readelf" -d "$file" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p')
done
keep usr/lib/ld-linux-armhf.so.3

# Modules, with the two lists that loading them takes.
while read -r file; do
    keep "$file"
done < <(find usr/lib/modules -name '*.ko' -o -name modules.alias -o -name modules.dep)

# Firmware. A line that finds nothing is a radio that does not work: an error.
while read -r package patterns; do
    found=0
    for pattern in $patterns; do
        for file in usr/lib/firmware/$pattern; do
            [ -f "$file" ] || continue
            keep "$file"
            found=1
        done
    done
    [ $found -eq 1 ] || { echo "keep-listed: nothing found of $package: $patterns" >&2; exit 1; }
done < <(grep -v '^#' "$lists/firmware")

for file in etc/{passwd,group,hosts,nsswitch.conf} etc/bramble/{build.json,update.pub}; do
    keep "$file"
done
# It points to where the appliance will write it.
keep[etc/resolv.conf]=1

while IFS= read -r -d '' path; do
    path=${path#./}
    [ -n "${keep[$path]:-}" ] || rm -f "$path"
done < <(find . -mindepth 1 -not -type d -print0)
find . -mindepth 1 -depth -type d -empty -delete
mkdir -p dev proc sys run tmp boot data

# Nothing here changes users: a file that could is a mistake.
mistakes=$(find . -type f -perm /6000)
[ -z "$mistakes" ] || { echo "keep-listed: setuid or setgid: $mistakes" >&2; exit 1; }
