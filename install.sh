#!/bin/sh
# Installs quietgate from this checkout, upgrades it, removes it: see usage() below, which --help prints.
set -eu
# A user who is nobody in particular runs a part of it.
umask 022
cd "$(dirname "$0")"

usage() {
    cat <<'USAGE'
Usage: sudo ./install.sh [--image | --uninstall | --help]

Installs quietgate from this checkout and protects the host.

  (no option)   install, write a policy that fits this host, put it in force, start the guard, print the status
  --image       for golden images: files and units only; the first boot of each machine does the rest
  --uninstall   take the firewall down and remove all of it but the policy you wrote
  --help        print this

Upgrade: git pull && sudo ./install.sh. The rules stay in the kernel all the while, the policy and the bans are kept, and
nothing that is open now is cut. If a step fails, the old version goes on.

The program goes to /opt/quietgate, the commands to /usr/local, the documentation to /usr/local/share/doc/quietgate, the
policy to /etc/quietgate, the state to /var/lib/quietgate.

Exit codes: 0 done; 1 failed, and the message says what to see to; 2 usage, or mistakes in the policy; 3 the firewall is in
force, but a service does not run; 4 refused, since somebody would be locked out; 77 not root.
USAGE
}

home=/opt/quietgate
command=/usr/local/sbin/quietgate
check=/usr/local/bin/check_quietgate
policy=/etc/quietgate/quietgate.toml
pages=/usr/local/share/doc/quietgate
log=/var/log/quietgate-guard.log # without systemd
units="quietgate-guard.service quietgate.service quietgate-refresh.service quietgate-refresh.timer quietgate-refresh.path
    quietgate-helper.socket quietgate-helper.service quietgate-resolve.socket quietgate-resolve@.service quietgate-deliver.socket quietgate-deliver@.service quietgate-metrics.service quietgate-notify.service"
started="quietgate-helper.socket quietgate-resolve.socket quietgate-deliver.socket quietgate-guard.service quietgate.service quietgate-refresh.timer quietgate-refresh.path
    quietgate-metrics.service quietgate-notify.service"

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

# What is done now: "2/5 program: ...".
step=0
steps=5
step() {
    step=$((step + 1))
    echo "$step/$steps $1"
}

has_systemd() { [ -d /run/systemd/system ]; }

# In an image none runs yet, but one will.
boots_systemd() { has_systemd || { [ -d /etc/systemd/system ] && [ -x /lib/systemd/systemd ]; }; }

packages() {
    missing=""
    command -v nft >/dev/null 2>&1 || [ -x /usr/sbin/nft ] || missing="nftables"
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="${missing:+$missing }python3-venv"
    step "packages: ${missing:-all there}"
    if [ -n "$missing" ]; then
        command -v apt-get >/dev/null 2>&1 || fail "these are needed, and there is no apt-get to install them: $missing"
        apt-get update -q >/dev/null || fail "apt-get update failed: see to the network and the package sources"
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null ||
            fail "apt-get could not install: $missing"
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed; this is $(python3 --version)"
}

# A new venv beside the old one, swapped in when it is whole: a failed upgrade leaves the old command working.
program() {
    step "program: $home, $command"
    rm -rf "$home/new"
    mkdir -p "$home"
    python3 -m venv "$home/new"
    "$home/new/bin/pip" install -qq --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/run.txt ||
        fail "pip could not install the locked dependencies: see to the network; nothing was changed"
    "$home/new/bin/pip" install -qq --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . ||
        fail "the package could not be installed; nothing was changed"
    rm -rf "$home/old"
    [ ! -d "$home/venv" ] || mv "$home/venv" "$home/old"
    mv "$home/new" "$home/venv"
    rm -rf "$home/old"
    # Scripts of a venv name its place in their first line: ours moved, so the command calls Python by its path.
    cat > "$command.new" <<COMMAND
#!/bin/sh
exec $home/venv/bin/python -I -m quietgate "\$@"
COMMAND
    chmod 755 "$command.new"
    mv "$command.new" "$command"
    # For monitoring, whose user is not root.
    printf '#!/bin/sh\nexec %s/venv/bin/python -I -m quietgate.ui.nagios "$@"\n' "$home" > "$check.new"
    chmod 755 "$check.new"
    mv "$check.new" "$check"
}

# Put a file in its place only if it is another one, whole or not at all.
place() {
    cmp -s "$1" "$2" && return 0
    cp "$1" "$2.new"
    chmod "$3" "$2.new"
    mv "$2.new" "$2"
}

# The documentation, which messages and units name by its path here.
documentation() {
    mkdir -p "$pages/examples" "$pages/forms"
    for file in README.md docs/*.*; do place "$file" "$pages/${file##*/}" 644; done
    for file in docs/forms/*; do place "$file" "$pages/forms/${file##*/}" 644; done
    for file in examples/*; do place "$file" "$pages/examples/${file##*/}" 644; done
    # Pages name each other as in the checkout: docs/guard.md.
    ln -sfn . "$pages/docs"
    # Those of an older version.
    for file in "$pages"/*.*; do [ "$file" = "$pages/README.md" ] || [ -e "docs/${file##*/}" ] || rm -f "$file"; done
}

# The files of the services; `at_boot` lets them start with the host.
services() {
    step "services: $(if boots_systemd; then echo "units in /etc/systemd/system"; else echo "init scripts in /etc/init.d"; fi), documentation in $pages"
    documentation
    if [ -d /usr/lib/sysusers.d ] && command -v systemd-sysusers >/dev/null 2>&1; then
        place packaging/quietgate.sysusers /usr/lib/sysusers.d/quietgate.conf 644
        systemd-sysusers quietgate.conf >/dev/null 2>&1 || true
    fi
    # The guard's socket belongs to it; the unit does not start without.
    grep -q '^quietgate:' /etc/group || groupadd --system quietgate
    if boots_systemd; then
        for user in quietgate-guard quietgate-metrics quietgate-notify; do
            grep -q "^$user:" /etc/passwd || useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin "$user" ||
                fail "the user $user could not be made"
        done
        for group in adm systemd-journal; do
            ! grep -q "^$group:" /etc/group || usermod --append --groups "$group" quietgate-guard
        done
    fi
    if [ -d /etc/systemd/system ]; then
        for unit in $units; do place "packaging/$unit" "/etc/systemd/system/$unit" 644; done
    fi
    if has_systemd; then systemctl daemon-reload; fi
    if ! boots_systemd; then
        place packaging/quietgate.init /etc/init.d/quietgate 755
        place packaging/quietgate-guard.init /etc/init.d/quietgate-guard 755
    fi
}

# Only when the policy is in force, and so was rehearsed: a boot has nobody to rehearse it for.
at_boot() {
    if boots_systemd; then
        # shellcheck disable=SC2086
        systemctl enable -q $started 2>/dev/null || fail "the units could not be enabled"
    else
        if command -v update-rc.d >/dev/null 2>&1; then
            update-rc.d quietgate defaults >/dev/null
            update-rc.d quietgate-guard defaults >/dev/null
        fi
        [ ! -d /etc/cron.d ] || place packaging/quietgate.cron /etc/cron.d/quietgate 644
    fi
}

# What answers to a start, and a reason where it does not. The firewall is in force by now.
start_services() {
    if has_systemd; then
        systemctl try-restart quietgate-helper.service quietgate-guard.service quietgate-metrics.service quietgate-notify.service || return 1 # those that run are the old program still
        # shellcheck disable=SC2086
        systemctl start $started
    elif [ -x /etc/init.d/quietgate-guard ]; then
        /etc/init.d/quietgate-guard restart
    else
        echo "no service manager runs here, so nothing was started: systemd starts the guard when the host boots"
    fi
}

install_all() {
    if [ "$1" = image ]; then steps=4; fi
    packages
    program
    services
    if [ "$1" = image ]; then
        step "boot: the services start with the host"
        at_boot
        mkdir -p /etc/quietgate/conf.d
        echo "installed for an image: the first boot writes a policy that fits it, and puts it in force"
        return
    fi
    step "firewall: $policy"
    # An earlier version's guard would go on in a database that moves to another place.
    if has_systemd && [ -e /var/lib/quietgate/quietgate.db ]; then systemctl stop quietgate-guard.service; fi
    "$command" arrange
    [ -e "$policy" ] || "$command" init
    "$command" check
    "$command" up --now || fail "installed, but not in force: see to what is said above, then run this again" $?
    at_boot
    step "guard: started, and it starts with the host"
    running=yes
    start_services || running=no
    "$command" status
    [ "$running" = yes ] || fail "the firewall is in force, but not every service runs: see above, and: quietgate doctor" 3
}

uninstall() {
    steps=3
    step "services: stopped"
    # First whatever could change the firewall meanwhile, or put it back.
    if has_systemd; then
        systemctl stop quietgate-guard.service quietgate-refresh.timer quietgate-refresh.path quietgate-refresh.service \
            quietgate-resolve.socket quietgate-deliver.socket quietgate-helper.socket quietgate-helper.service \
            quietgate-metrics.service quietgate-notify.service 2>/dev/null || true
    elif [ -x /etc/init.d/quietgate-guard ]; then
        /etc/init.d/quietgate-guard stop || true
    fi
    step "firewall: taken down"
    if [ -x "$command" ]; then "$command" down || fail "the firewall could not be taken down; nothing was removed"; fi
    step "files: removed"
    if has_systemd; then
        # shellcheck disable=SC2086
        systemctl disable -q --now $started 2>/dev/null || true
    fi
    for unit in $units; do rm -f "/etc/systemd/system/$unit" "/etc/systemd/system/"*.wants/"$unit"; done
    rm -rf /run/systemd/system/quietgate-refresh.timer.d
    if has_systemd; then
        systemctl daemon-reload
        systemctl reset-failed 'quietgate*' 2>/dev/null || true  # what was stopped in the middle of its work counts as failed
    fi
    if [ -e /etc/init.d/quietgate ]; then
        rm -f /etc/init.d/quietgate /etc/init.d/quietgate-guard
        if command -v update-rc.d >/dev/null 2>&1; then
            update-rc.d quietgate remove >/dev/null
            update-rc.d quietgate-guard remove >/dev/null
        fi
    fi
    rm -f /etc/cron.d/quietgate /usr/lib/sysusers.d/quietgate.conf
    # The policy stays if somebody wrote in it; one that is still as `init` left it goes.
    if [ -e /var/lib/quietgate/proposed.toml ] && cmp -s /var/lib/quietgate/proposed.toml "$policy"; then rm -f "$policy"; fi
    rm -rf /var/lib/quietgate /run/quietgate "$home"
    rm -f "$command" "$check" "$log" "$log.1"
    rm -rf "$pages"
    rmdir "${pages%/*}" 2>/dev/null || true
    rmdir /etc/quietgate/conf.d 2>/dev/null || true
    rmdir /etc/quietgate 2>/dev/null || true
    if [ -e /etc/quietgate ]; then
        echo "quietgate is uninstalled; what you wrote stays in /etc/quietgate"
    else
        echo "quietgate is uninstalled"
    fi
}

case "${1:-}" in
    --help | -h)
        usage
        exit 0
        ;;
    "" | --image | --uninstall) [ $# -le 1 ] || fail "one option at a time; see ./install.sh --help" 2 ;;
    *) fail "unknown option $1; see ./install.sh --help" 2 ;;
esac
[ "$(id -u)" -eq 0 ] || fail "this needs root: sudo ./install.sh" 77
[ "$(uname -s)" = Linux ] || fail "quietgate is for Linux with nftables"
case "${1:-}" in
    --uninstall) uninstall ;;
    --image) install_all image ;;
    *) install_all host ;;
esac
