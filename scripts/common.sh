# Sourced by the scripts beside it: where the cache is, where tools are found, and how a step is announced. Changes nothing by itself.
# shellcheck shell=bash

CORDWOOD_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything that can be made again lives here, outside the tree: downloads, built tools, cargo's target folder.
export CORDWOOD_CACHE=${CORDWOOD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cordwood}
if [ -z "${CARGO_TARGET_DIR:-}" ]; then
    export CARGO_TARGET_DIR=$CORDWOOD_CACHE/target
    # cargo by hand builds into `target`: a link to the same folder, so that nothing is built twice.
    mkdir -p "$CARGO_TARGET_DIR"
    [ -e "$CORDWOOD_TOP/target" ] || ln -s "$CARGO_TARGET_DIR" "$CORDWOOD_TOP/target" 2>/dev/null || true
fi
export CORDWOOD_BIN_DIR=${CORDWOOD_BIN_DIR:-$CARGO_TARGET_DIR/release}
mkdir -p "$CORDWOOD_CACHE"

for dir in /usr/local/sbin /usr/sbin /sbin /usr/local/go/bin "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"; do
    case ":$PATH:" in *":$dir:"*) ;; *) [ -d "$dir" ] && PATH=$PATH:$dir ;; esac
done
# A Go that setup had to fetch stands before the distribution's older one.
[ -d "$CORDWOOD_CACHE/go-toolchain/bin" ] && PATH=$CORDWOOD_CACHE/go-toolchain/bin:$PATH
# So does a Node.
[ -d "$CORDWOOD_CACHE/node-toolchain/bin" ] && PATH=$CORDWOOD_CACHE/node-toolchain/bin:$PATH
export PATH

say() { printf '\033[1m==\033[0m %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# at_least HAVE WANT: is version HAVE the same as WANT or newer?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

go_version() { command -v go >/dev/null && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//'; }
rust_version() { command -v rustc >/dev/null && (cd "$CORDWOOD_TOP" && rustc --version 2>/dev/null) | awk '{print $2}'; }
# What the interface's build asks for.
node_wanted=20.19
node_version() { command -v npm >/dev/null && node --version 2>/dev/null | sed 's/^v//'; }
rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$CORDWOOD_TOP/Cargo.toml"; }
