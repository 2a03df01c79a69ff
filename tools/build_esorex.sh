#!/usr/bin/env bash
# Build EsoRex with Python recipes from Debian's source package (Debian's own binary has them off).
#
# usage: tools/build_esorex.sh FOLDER VENV
#
# FOLDER gets bin/esorex, a wrapper that finds the recipes of this project and the python of VENV. A second call
# does nothing. What must be installed comes by apt (as root or through sudo), fitsverify with it.
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "usage: $0 FOLDER VENV" >&2
    exit 2
fi
project=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
venv=$(cd "$2" && pwd)
stamp="$folder/.built-from-$(cksum <"$0" | cut -d' ' -f1)"
packages="g++ make xz-utils pkg-config libcfitsio-dev libcpl-dev libffi-dev libltdl-dev wcslib-dev fitsverify"

fail() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

missing_packages() {
    local package
    for package in $packages; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

install_packages() {
    local missing sudo=""
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        sudo=$(command -v sudo) || fail "EsoRex needs packages; as root: apt-get install $missing"
    fi
    echo "installing $missing"
    local install="env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3"
    # The package lists may be absent or too old.
    # shellcheck disable=SC2086 # words on purpose
    $sudo $install install -y --no-install-recommends $missing >/dev/null 2>&1 ||
        { $sudo $install update >/dev/null && $sudo $install install -y --no-install-recommends $missing >/dev/null; } ||
        fail "apt-get could not install $missing"
}

# apt with lists and sources of its own: nothing of the system's is changed.
private_apt() {
    local work=$1
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    cat >"$work/apt.conf" <<CONF
Dir::State::lists "$work/lists/";
Dir::Cache "$work/cache/";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "root";
Acquire::Retries "3";
CONF
}

# "mirror origin suite component" where sources of EsoRex may be: this release, its backports, the stable one.
source_places() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '($2 == "Debian" || $2 == "Ubuntu") && ($4 == "main" || $4 == "universe") && $3 !~ /-/ && !seen[$0]++ {
            print; print $1, $2, $3 "-backports", $4; print $1, $2, "stable", $4 }'
}

# Archive of the sources, as ESO released them, verified against the signed list of sources.
download() {
    local work=$1 mirror origin suite component keyring found uri name checksum
    private_apt "$work"
    export APT_CONFIG="$work/apt.conf"
    while read -r mirror origin suite component; do
        keyring=/usr/share/keyrings/$(echo "$origin" | tr '[:upper:]' '[:lower:]')-archive-keyring.gpg
        [ -e "$keyring" ] && keyring="[signed-by=$keyring]" || keyring=""
        echo "deb-src $keyring $mirror $suite $component" >"$work/sources.list"
        apt-get update >>"$work/apt.log" 2>&1 || continue
        found=$(apt-get source --print-uris esorex 2>>"$work/apt.log" | grep "^'.*\.orig\.tar\.") || continue
        read -r uri name _ checksum <<<"$found"
        uri=${uri#\'}
        if /usr/lib/apt/apt-helper download-file "${uri%\'}" "$work/$name" "$checksum" >>"$work/apt.log" 2>&1; then
            unset APT_CONFIG
            echo "$work/$name"
            return 0
        fi
    done < <(unset APT_CONFIG && source_places)
    tail -n 20 "$work/apt.log" >&2 || true
    fail "no source package of EsoRex could be had from the mirrors that apt knows"
}

build() {
    local work=$1 archive=$2 log="$folder/build.log"
    tar -xf "$archive" -C "$work"
    cd "$work"/esorex-*/
    {
        ./configure --prefix="$folder" --bindir="$folder/libexec" --with-libffi=/usr --enable-python-recipes &&
            make -j "$(nproc)" && make install
    } >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "EsoRex could not be built, see $log"; }
    grep -q '^checking whether Python based recipes can be supported... yes' "$log" ||
        fail "EsoRex was built without Python recipes, see $log"
}

write_wrapper() {
    mkdir -p "$folder/bin"
    cat >"$folder/bin/esorex" <<'WRAPPER'
#!/bin/sh
# EsoRex starts `python` from PATH: here that of the virtual environment in which the recipes are installed.
home=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
PATH="$home/venv/bin:$PATH"
ESOREX_PLUGIN_DIR=${ESOREX_PLUGIN_DIR:-$home/recipes}
export PATH ESOREX_PLUGIN_DIR
exec "$home/libexec/esorex" "$@"
WRAPPER
    chmod +x "$folder/bin/esorex"
}

command -v apt-get >/dev/null ||
    fail "this needs Debian's or Ubuntu's apt-get" \
        "elsewhere: configure EsoRex with --with-libffi=/usr --enable-python-recipes and put it on PATH"
install_packages
if ! [ -e "$stamp" ] || ! "$folder/libexec/esorex" --version >/dev/null 2>&1; then
    rm -f "$folder"/.built-from-*
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    archive=$(download "$work")
    echo "building $(basename "$archive")"
    build "$work" "$archive"
    write_wrapper
    : >"$stamp"
fi
ln -sfn "$venv" "$folder/venv"
ln -sfn "$project/soxs_recipes/plugins/esorex" "$folder/recipes"
echo "$folder/bin/esorex is ready"
