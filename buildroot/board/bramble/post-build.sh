#!/bin/bash
# post-build.sh TARGET BOARD: puts into the root what depends on this build: version, time and the
# key whose updates the board will accept. It may run many times over the same directory.
set -euo pipefail
target=$1
# shellcheck source-path=SCRIPTDIR source=identity
. "$(dirname "$0")/identity"

# Made once and kept: a board accepts nothing but updates signed with the key of its image.
if [ ! -f "$signing_key" ]; then
    echo "bramble: making the signing key $signing_key; keep it" >&2
    (umask 077 && "$HOST_DIR/bin/imagetool" keygen "$signing_key" "$public_key")
fi
install -D -m 644 "$public_key" "$target/etc/bramble/update.pub"
printf '{"version":"%s","built_unix":%s}\n' "$version" "$built" >"$target/etc/bramble/build.json"
ln -sfn /run/bramble/resolv.conf "$target/etc/resolv.conf"
