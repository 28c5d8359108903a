#!/bin/bash
# check.sh BUILDROOT_DIR: holds this tree against a real Buildroot, without downloading or building
# anything. Fails on a symbol that Buildroot does not know, refuses or has as its default, on a
# package that should be in the build and is not (or the other way round), on a file named here
# that does not exist, and on what shellcheck and Buildroot's check-package find.
set -uo pipefail
if [ $# -ne 1 ] || [ ! -f "$1/utils/check-package" ]; then
    echo "usage: $0 BUILDROOT_DIR" >&2
    exit 2
fi
buildroot=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
wrong() { echo "check: $*" >&2; failed=1; }
out=$work/out
br() { make -s --no-print-directory -C "$buildroot" BR2_EXTERNAL="$here" O="$out" "$@"; }
symbols() { grep -E '^(BR2_|# BR2_.* is not set$)' "$1" | LC_ALL=C sort; }

echo "Buildroot $(sed -n 's/^export BR2_VERSION := //p' "$buildroot/Makefile"), $here"
for file in "$here"/configs/*_defconfig; do
    name=$(basename "$file")
    rm -rf "$out"
    if ! br "$name" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        wrong "$name: make $name fails"
        continue
    fi
    while read -r line; do wrong "$name: $line"; done < <(grep -iE 'warning|unmet|undefined' "$work/log")

    # What is asked for is there ...
    while IFS= read -r line; do
        case $line in
        '#'*)
            symbol=${line#\# }
            symbol=${symbol%% *}
            grep -qxF -- "$line" "$out/.config" || wrong "$name: unknown, or selected all the same: $symbol"
            ;;
        *) grep -qxF -- "$line" "$out/.config" || wrong "$name: unknown or refused: $line" ;;
        esac
    done < <(symbols "$file")
    # ... and would not be there by itself.
    br savedefconfig BR2_DEFCONFIG="$work/saved" >"$work/log" 2>&1 || wrong "$name: savedefconfig fails"
    while IFS= read -r line; do
        case $line in
        '<'*) wrong "$name: vanishes, as it is the default or selected: ${line#< }" ;;
        '>'*) wrong "$name: not asked for: ${line#> }" ;;
        esac
    done < <(diff <(symbols "$file") <(symbols "$work/saved"))

    br show-targets >"$work/targets" 2>"$work/log" || wrong "$name: show-targets fails: $(cat "$work/log")"
    for target in bramble linux uboot wpa_supplicant e2fsprogs wireless-regdb linux-firmware \
        brcmfmac_sdio-firmware-rpi rpi-firmware glibc rootfs-cpio; do
        tr ' ' '\n' <"$work/targets" | grep -qxF "$target" || wrong "$name: $target is not in the build"
    done
    for target in busybox bash dash mksh zsh dropbear openssh systemd rootfs-tar; do
        ! tr ' ' '\n' <"$work/targets" | grep -qxF "$target" || wrong "$name: $target is in the build"
    done

    br show-info >"$work/info" 2>"$work/log" || wrong "$name: show-info fails: $(cat "$work/log")"
    python3 - "$work/info" "$here/.." <<'PYTHON' || wrong "$name: see above"
import json, os, re, sys
info = json.load(open(sys.argv[1]))
source = os.path.realpath(sys.argv[2])
asked = re.search(r'\[workspace.package\][^\[]*?\nversion = "(.*?)"', open(source + "/Cargo.toml").read()).group(1)
bad = []
for name in "bramble", "host-bramble":
    package = info[name]
    if package.get("version") != asked:
        bad.append(f"{name} has version {package.get('version')}, not {asked}")
    if "host-rustc" not in package["dependencies"] and "host-rust-bin" not in package["dependencies"]:
        bad.append(f"{name} does not depend on the Rust compiler")
if "host-bramble" not in info["bramble"]["dependencies"]:
    bad.append("bramble does not depend on the image tool")
downloads = sum(len(package.get("downloads", [])) for package in info.values())
print(f"  {len(info)} packages, {downloads} downloads")
for line in bad:
    print("check:", line, file=sys.stderr)
sys.exit(bool(bad))
PYTHON

    # Built from this checkout.
    site=$(br printvars VARS=BRAMBLE_OVERRIDE_SRCDIR QUOTED_VARS=YES 2>/dev/null)
    [ "$site" = "BRAMBLE_OVERRIDE_SRCDIR='$(realpath "$here/..")'" ] || wrong "$name: built from $site"

    # Files named in the configuration.
    while read -r path; do
        [ -e "$here$path" ] || wrong "$name: there is no buildroot$path"
    done < <(grep -oE '\$\(BR2_EXTERNAL_BRAMBLE_PATH\)[^ "]+' "$file" | sed 's/^[^)]*)//')
    # The kernel's tarball has a checksum; Buildroot is told to insist on one.
    kernel=$(sed -n 's/^BR2_LINUX_KERNEL_CUSTOM_VERSION_VALUE="\(.*\)"/\1/p' "$file")
    for hash in linux linux-headers; do
        grep -q " linux-$kernel\.tar" "$here/patches/$hash/$hash.hash" || wrong "$name: no checksum of linux-$kernel"
    done
    echo "  $name"
done

# Files outside this tree that the scripts read.
for path in image/boot/boot.cmd image/boot/environment image/genimage.cfg image/rootfs/programs \
    image/rootfs/firmware appliance/model/src/provision/template.toml; do
    [ -e "$here/../$path" ] || wrong "there is no $path"
    grep -rqF "${path##*/}" "$here/board/bramble" || wrong "nothing uses $path any more"
done
# U-Boot's file has the name config.txt gives it.
for file in "$here"/configs/*_defconfig; do
    board=$(sed -n 's/^BR2_ROOTFS_POST_SCRIPT_ARGS="\(.*\)"/\1/p' "$file")
    grep -qxF "kernel=u-boot-$board.bin" "$here/../image/boot/config.txt" ||
        wrong "config.txt does not start u-boot-$board.bin ($(basename "$file"))"
done
# Licences as Buildroot will check them.
(cd "$here/.." && sed -n 's/^sha256 *//p' "$here/package/bramble/bramble.hash" | sha256sum --check --quiet) ||
    wrong "bramble.hash does not fit the licences"

scripts=("$here"/check.sh "$here"/board/bramble/*.sh)
for script in "${scripts[@]}"; do
    [ -x "$script" ] || wrong "$script cannot be executed"
done
if command -v shellcheck >/dev/null; then
    shellcheck -x "${scripts[@]}" "$here/board/bramble/identity" || wrong "shellcheck"
else
    echo "  shellcheck is not installed: scripts were not looked at"
fi
if python3 -c 'import magic' 2>/dev/null; then
    (cd "$here" && "$buildroot/utils/check-package" --br2-external \
        Config.in external.mk external.desc configs/* package/bramble/* patches/*/*.hash) >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; wrong "check-package"; }
else
    echo "  Python has no module magic (python-magic): check-package was not run"
fi
[ $failed -eq 0 ] && echo "check: all well"
exit $failed
