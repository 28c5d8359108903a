#!/bin/bash
# in-root.sh ROOT SOURCE OUT COMMAND...: runs a command inside the build root, with the checkout
# at /src (read-only), the build directory at /out and cargo's downloads shared with the machine.
# Mounts live in a namespace of their own and end with the command. Needs root.
set -euo pipefail
root=$1 source=$(realpath "$2") out=$(realpath "$3")
shift 3
cargo=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$cargo/registry" "$cargo/git" "$root/src" "$root/out" "$root/cargo/registry" "$root/cargo/git"
export root source out cargo
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --mount --propagation private bash -euc '
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    mount --bind "$source" "$root/src"
    mount -o remount,bind,ro "$root/src"
    mount --bind "$out" "$root/out"
    mount --bind "$cargo/registry" "$root/cargo/registry"
    mount --bind "$cargo/git" "$root/cargo/git"
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || { touch "$root$file"; mount --bind "$file" "$root$file"; }
    done
    if [ -f "$cargo/config.toml" ]; then
        touch "$root/cargo/config.toml"
        mount --bind "$cargo/config.toml" "$root/cargo/config.toml"
    fi
    exec chroot "$root" /usr/bin/env CARGO_HOME=/cargo HOME=/tmp LC_ALL=C TZ=UTC "$@"
' in-root "$@"
