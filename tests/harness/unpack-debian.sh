#!/bin/sh
# Unpacks packages of this machine's own Debian or Ubuntu, without root: `unpack-debian.sh FOLDER PACKAGE..`. What
# they depend on is not unpacked, but noted in FOLDER/depends.
set -eu
folder=$1
shift
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null
mkdir -p "$folder"
cd "$folder"
apt="apt-get -qq -o APT::Sandbox::User=$(id -un) -o Acquire::http::Timeout=15 -o Acquire::Retries=1"
# Where the machine has no lists of packages, this account fetches them for itself.
own="$apt -o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD/cache"
{
    if [ -d lists ] || ! $apt download "$@"; then
        [ -d lists ] || { mkdir -p lists/partial cache/archives/partial && $own update; }
        $own download "$@"
    fi
} >/dev/null 2>&1
for package in *.deb; do
    dpkg-deb -f "$package" Depends >>depends
    dpkg-deb -x "$package" .
    rm "$package"
done
