#!/bin/bash
# check-kernel.sh CONFIG FRAGMENT...: fails if a line of a fragment did not take effect in the
# kernel's configuration, and names each.
set -euo pipefail
config=$1
shift
missing=0
while read -r line; do
    case $line in
    CONFIG_*=*)
        grep -qxF -- "$line" "$config" || { echo "kernel: not set: $line" >&2; missing=1; }
        ;;
    '# CONFIG_'*' is not set')
        option=${line#\# }
        option=${option%% *}
        ! grep -q "^$option=" "$config" || { echo "kernel: still set: $option" >&2; missing=1; }
        ;;
    esac
done < <(cat "$@")
exit $missing
