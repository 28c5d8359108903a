#!/bin/bash
# build-root.sh DIR: makes the build root, a Debian trixie with compilers for armv7, unless it is
# there and was made from the same list of packages. Needs root and mmdebstrap.
set -euo pipefail
root=$1
here=$(cd "$(dirname "$0")" && pwd)
list=$(grep -v '^#' "$here/build-packages" | paste -sd,)
sum=$(sha256sum <"$here/build-packages" | cut -c1-16)
[ "$(cat "$root/.made-from" 2>/dev/null)" != "$sum" ] || exit 0

echo "image: making the build root (about two minutes, 1.5 GB)" >&2
# One suite only: its point releases hold the security fixes, and two suites that are not in step
# would give amd64 and armhf different versions. On Debian the mirror is the one the machine uses,
# elsewhere mmdebstrap's own.
from=()
if grep -qx 'ID=debian' /etc/os-release; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
    [ -z "$mirror" ] || from=("deb $mirror trixie main non-free-firmware")
fi
rm -rf "$root"
mkdir -p "$(dirname "$root")"
mmdebstrap --mode=root --variant=apt --architectures=amd64,armhf \
    --include="$list" \
    --skip=cleanup/apt/lists --aptopt='APT::Install-Recommends "false"' \
    --components='main non-free-firmware' trixie "$root" "${from[@]}"
echo "$sum" >"$root/.made-from"
