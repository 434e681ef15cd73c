#!/bin/sh
# Installs the servers, headers and the browser that the tests need.
set -eu

packages=
need() { # need PACKAGE COMMAND...: the package is needed if the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}

header() {
    find /usr/include /usr/local/include -name "$1" 2>/dev/null | grep -q .
}

PATH=$PATH:/usr/sbin:/sbin
need memcached command -v memcached
need sasl2-bin command -v saslpasswd2
need libsasl2-modules sh -c 'find /usr/lib /usr/local/lib -name "libplain.so*" | grep -q .'
need mariadb-server command -v mariadbd
need nginx-light command -v nginx
need redis-server command -v redis-server
need iproute2 command -v ip
need nftables command -v nft
need openssl command -v openssl
need systemd command -v systemd-analyze
need default-libmysqlclient-dev header mysql.h
need libmemcached-dev header memcached.h
need zlib1g-dev header zlib.h
need pkg-config command -v pkg-config
need gcc command -v gcc
need libc6-dev header stdio.h
need libarchive13 "${PYTHON:-python3}" -c 'import ctypes; ctypes.CDLL("libarchive.so.13")'
need strace command -v strace
need chromium-headless-shell command -v chromium-headless-shell
need fonts-noto-color-emoji sh -c 'find /usr/share/fonts -name "NotoColorEmoji*" | grep -q .'
# The headers of this Python; Debian has them in their own package.
need python3-dev sh -c '"${PYTHON:-python3}" -c "import sysconfig, os; assert os.path.exists(sysconfig.get_path(\"include\") + \"/Python.h\")"'

[ -n "$packages" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need packages that are not installed. As root: apt-get install$packages" >&2
    exit 1
fi
echo "Installing$packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # one word a package
apt-get install -qq -y --no-install-recommends $packages >/dev/null
