#!/bin/sh
# Installs quietgate from this checkout and puts SSH behind its limit:
#   sudo ./install.sh
# It installs nftables, makes a venv under /opt/quietgate, writes the default policy if there is none, loads it and
# prints the status. Run again, it upgrades. Nothing that is open now is cut.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

[ "$(id -u)" -eq 0 ] || fail "this needs root: sudo ./install.sh" 77
[ "$(uname -s)" = Linux ] || fail "quietgate is for Linux with nftables"

missing=""
command -v nft >/dev/null 2>&1 || [ -x /usr/sbin/nft ] || missing="$missing nftables"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || fail "these are needed, and there is no apt-get to install them:$missing"
    apt-get update -q >/dev/null || fail "apt-get update failed: see to the network and the package sources"
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null ||
        fail "apt-get could not install:$missing"
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; this is $(python3 --version)"

# A new venv beside the old one, swapped in when it is whole: a failed upgrade leaves the old command working.
home=/opt/quietgate
rm -rf "$home/new"
mkdir -p "$home"
python3 -m venv "$home/new"
"$home/new/bin/pip" install -qq --disable-pip-version-check --require-hashes -r requirements/run.txt ||
    fail "pip could not install the locked dependencies: see to the network; nothing was changed"
"$home/new/bin/pip" install -qq --disable-pip-version-check --no-deps --no-build-isolation . ||
    fail "the package could not be installed; nothing was changed"
rm -rf "$home/old"
[ ! -d "$home/venv" ] || mv "$home/venv" "$home/old"
mv "$home/new" "$home/venv"
rm -rf "$home/old"
# Scripts of a venv name its place in their first line: ours moved, so the command calls Python by its path.
cat > /usr/local/sbin/quietgate.new <<'COMMAND'
#!/bin/sh
exec /opt/quietgate/venv/bin/python -I -m quietgate "$@"
COMMAND
chmod 755 /usr/local/sbin/quietgate.new
mv /usr/local/sbin/quietgate.new /usr/local/sbin/quietgate

policy=/etc/quietgate/quietgate.toml
if [ ! -e "$policy" ]; then
    mkdir -p /etc/quietgate/conf.d
    cp examples/minimal.toml "$policy.new"
    chmod 644 "$policy.new"
    mv "$policy.new" "$policy"
    echo "wrote $policy"
fi

/usr/local/sbin/quietgate check
/usr/local/sbin/quietgate up
/usr/local/sbin/quietgate status
