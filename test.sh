#!/bin/sh
# Sets up what the tests need, and runs them: lint, types, import rules, then the tests themselves.
#   sudo ./test.sh            the suite, within ten minutes on two cores
#   sudo ./test.sh --long     what takes longer: long windows, thousands of cases, Debian trees that boot
#   ./test.sh --pure          what runs without root: no packages are installed, no namespaces made
# What stands after -- goes to pytest.
set -eu
cd "$(dirname "$0")"

mode=suite
case "${1:-}" in
    --long) mode=long; shift ;;
    --pure) mode=pure; shift ;;
esac
[ "${1:-}" = "--" ] && shift
if [ "$mode" != pure ] && [ "$(id -u)" -ne 0 ]; then
    echo "test.sh: not root: only the pure tests run (sudo ./test.sh runs all)" >&2
    mode=pure
fi

packages="nftables iproute2 openssh-server openssh-client ipset procps python3-venv udhcpc udhcpd iputils-ping conntrack util-linux rsync python3-pip debootstrap systemd-container iptables strace rsyslog dropbear-bin zstd"
if [ "$mode" = long ]; then
    packages="$packages chromium e2fsprogs git"
    [ "$(uname -m)" != x86_64 ] || packages="$packages qemu-system-x86"
fi
if [ "$mode" != pure ]; then
    missing=""
    for package in $packages; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        # The tests start their own sshd in namespaces: none shall start on this host only because of the tests.
        policy=/usr/sbin/policy-rc.d
        made=""
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' > "$policy"
            chmod 755 "$policy"
            made=yes
        fi
        trap '[ -z "$made" ] || rm -f "$policy"' EXIT INT TERM
        apt-get update -q >/dev/null
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
        [ -z "$made" ] || rm -f "$policy"
        trap - EXIT INT TERM
    fi
fi

python=${PYTHON:-python3}
stamp=.venv/requirements
if ! cat requirements/dev.txt requirements/ansible.txt | cmp -s - "$stamp" 2>/dev/null || [ ! -x .venv/bin/quietgate ]; then
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/ansible.txt
    .venv/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
    cat requirements/dev.txt requirements/ansible.txt > "$stamp"
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports >/dev/null || .venv/bin/lint-imports

# Most of the suite waits for packets and processes, so five tests at a time; what measures time runs by itself. 5: none was chosen.
both() {
    which=$1
    shift
    worst=0
    .venv/bin/pytest -m "($which) and alone" "$@" || [ $? -eq 5 ] || worst=1
    .venv/bin/pytest -n 5 --dist worksteal -m "($which) and not alone" "$@" || [ $? -eq 5 ] || worst=1
    exit $worst
}

case "$mode" in
    pure) exec .venv/bin/pytest -m "not kernel and not boot and not long" "$@" ;;
    suite) both "not long" "$@" ;;
    long) both "long" "$@" ;;
esac
