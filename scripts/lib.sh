# shellcheck shell=bash
# Helpers that the scripts of this directory source: they bring in what a step needs (Debian packages, the
# container engine, a browser, a database server, Node modules) and say nothing when it is there already.
#
# Sourced by bash under `set -euo pipefail`. Every function may be called any number of times.

# The engine writes this file itself, and only the engine that `ensure_docker` started is told to.
DESKGATE_DOCKERD_PID=/run/deskgate-dockerd.pid
DESKGATE_DOCKERD_LOG=/var/log/deskgate-dockerd.log

# Images of Debian 12 that others are made from, and how long a registry may take to give the first.
DESKGATE_DEBIAN_IMAGE=debian:bookworm-slim
DESKGATE_MADE_BASE=deskgate/base:bookworm
DESKGATE_PULL_TIMEOUT_SECONDS=20

# Prints a progress line. It goes to standard error so that a script's output stays usable in a pipe.
say() {
    printf '==> %s\n' "$*" >&2
}

# Prints why the script cannot go on, and ends it.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command as root, through sudo where the caller is somebody else.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "this needs root rights and there is no sudo: $*"
    fi
}

# True if the command, or the file when the name starts with a slash, is there. The system directories are
# looked at too, because an ordinary user's PATH leaves them out.
is_there() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# need_apt CMD_OR_FILE PKG...: installs the packages if the command or file is missing.
need_apt() {
    local wanted=$1 answer
    shift
    is_there "$wanted" && return 0
    command -v apt-get >/dev/null 2>&1 || die "$wanted is missing; please install it (Debian packages: $*)"

    # Whoever is root or a CI job has decided already; a person at a terminal is asked.
    if [ "$(id -u)" -ne 0 ] && [ "${CI:-}" != true ] && [ -t 0 ]; then
        read -r -p "$wanted is missing. Install the Debian packages $* with sudo? [y/N] " answer
        case $answer in
            [yY]*) ;;
            *) die "$wanted is missing" ;;
        esac
    fi

    say "installing $*"
    if [ -z "${DESKGATE_APT_UPDATED:-}" ]; then
        as_root apt-get update -qq
        DESKGATE_APT_UPDATED=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
    is_there "$wanted" || die "$wanted is still missing after installing $*"
}

# True if a container engine answers.
docker_answers() {
    command -v docker >/dev/null 2>&1 && timeout 10 docker info >/dev/null 2>&1
}

# The process id of the engine that `ensure_docker` started, empty if there is none.
our_dockerd() {
    local pid
    pid=$(cat "$DESKGATE_DOCKERD_PID" 2>/dev/null) || return 0
    runs "$pid" dockerd && printf '%s' "$pid"
    return 0
}

# runs PID NAME: whether that process runs that program. A pid file that outlived its process must not point at
# somebody else's, and a dead process that nobody has waited for still has a name, but no program any more.
runs() {
    [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# Removes the pid files of an engine that was killed: the next one takes them for a running engine's.
drop_stale_pid_files() {
    local entry file name pid
    for entry in "$DESKGATE_DOCKERD_PID dockerd" "/var/run/docker.pid dockerd" \
        "/var/run/docker/containerd/containerd.pid containerd"; do
        read -r file name <<<"$entry"
        pid=$(as_root cat "$file" 2>/dev/null) || continue
        runs "$pid" "$name" || as_root rm -f "$file"
    done
}

# Makes sure that a container engine answers: installs one if there is only a client or nothing at all, and
# starts it if it does not run.
ensure_docker() {
    local tries
    docker_answers && return 0

    # A context or DOCKER_HOST that points elsewhere is the user's choice; a local engine would not help there.
    if [ -n "${DOCKER_HOST:-}" ]; then
        die "no container engine answers at DOCKER_HOST=$DOCKER_HOST"
    fi
    # An engine that runs but refuses this user is not to be started a second time.
    if [ "$(id -u)" -ne 0 ] && [ -S /var/run/docker.sock ] && as_root docker info >/dev/null 2>&1; then
        die "the container engine runs, but you may not use it: join the group docker, or run this as root"
    fi

    need_apt dockerd docker.io
    need_apt iptables iptables
    need_apt docker docker.io

    say "starting the container engine"
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
    else
        drop_stale_pid_files
        # A session of its own, so that neither a hang-up nor an interrupt at the terminal reaches the engine.
        # shellcheck disable=SC2016 # The inner shell expands its own arguments.
        as_root sh -c 'PATH="$PATH:/usr/sbin:/sbin" setsid nohup dockerd --pidfile "$1" </dev/null >>"$2" 2>&1 &' \
            sh "$DESKGATE_DOCKERD_PID" "$DESKGATE_DOCKERD_LOG"
    fi
    for ((tries = 0; tries < 120; tries++)); do
        docker_answers && return 0
        sleep 0.5
    done
    die "the container engine does not answer after 60 s (see $DESKGATE_DOCKERD_LOG)"
}

# Stops the engine, and with it all its containers, if `ensure_docker` started it.
stop_docker_if_ours() {
    local pid tries
    pid=$(our_dockerd)
    [ -n "$pid" ] || return 0
    say "stopping the container engine"
    as_root kill "$pid"
    for ((tries = 0; tries < 60; tries++)); do
        [ -n "$(our_dockerd)" ] || return 0
        sleep 0.5
    done
    die "the container engine (process $pid) does not stop"
}

# The part of this machine's apt settings that a container needs too: a machine whose clock is not set tells
# its apt not to compare dates, and inside a container the clock is the same.
apt_settings() {
    command -v apt-config >/dev/null 2>&1 || return 0
    apt-config dump --format '%f "%v";%n' Acquire::Check-Date Acquire::Check-Valid-Until
}

# Takes a proxy that is set for apt alone over into the environment, where mmdebstrap and the engine look.
# The engine keeps these variables out of the image and of its history.
adopt_apt_proxy() {
    local proxy
    command -v apt-config >/dev/null 2>&1 || return 0
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    if [ -n "${proxy:-}" ] && [ "$proxy" != DIRECT ] && [ -z "${http_proxy:-}" ]; then
        export http_proxy=$proxy
    fi
}

# image_exists NAME: true if the engine has that image.
image_exists() {
    docker image inspect "$1" >/dev/null 2>&1
}

# Makes a minimal Debian 12 from packages.
make_base() {
    need_apt mmdebstrap mmdebstrap
    need_apt /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
    say "making the base image $DESKGATE_MADE_BASE from Debian packages"
    local setting options=()
    while IFS= read -r setting; do
        [ -z "$setting" ] || options+=("--aptopt=$setting")
    done < <(apt_settings)
    # The apt options are this machine's, so they leave the tree again.
    # shellcheck disable=SC2016 # mmdebstrap sets $1 for the hook.
    mmdebstrap --quiet --variant=minbase "${options[@]}" \
        --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
        bookworm - ${DEMO_MIRROR:+"$DEMO_MIRROR"} | docker import - "$DESKGATE_MADE_BASE" >/dev/null
}

# Sets BASE to an image of Debian 12 that is on this machine when the function returns, the first of these that there is:
# DEMO_BASE, an image of an earlier run, Debian's own from the registry the engine is set up for, and last one made here
# from Debian packages, for a machine that reaches a package mirror but no registry.
choose_base() {
    if [ -n "${DEMO_BASE:-}" ]; then
        BASE=$DEMO_BASE
    elif image_exists "$DESKGATE_DEBIAN_IMAGE"; then
        BASE=$DESKGATE_DEBIAN_IMAGE
    elif image_exists "$DESKGATE_MADE_BASE"; then
        BASE=$DESKGATE_MADE_BASE
    else
        say "fetching $DESKGATE_DEBIAN_IMAGE"
        if timeout "$DESKGATE_PULL_TIMEOUT_SECONDS" docker pull --quiet "$DESKGATE_DEBIAN_IMAGE" >/dev/null 2>&1; then
            BASE=$DESKGATE_DEBIAN_IMAGE
        else
            say "no registry answered within $DESKGATE_PULL_TIMEOUT_SECONDS s"
            make_base
            BASE=$DESKGATE_MADE_BASE
        fi
    fi
}

# Sets CHROMIUM to a Chromium or Chrome, which it installs if there is none.
ensure_chromium() {
    local name
    for name in "${CHROMIUM:-chromium}" chromium chromium-browser google-chrome google-chrome-stable; do
        if is_there "$name"; then
            CHROMIUM=$(command -v "$name")
            export CHROMIUM
            return 0
        fi
    done
    need_apt chromium chromium
    CHROMIUM=$(command -v chromium)
    export CHROMIUM
}

# Sets PG_BIN to the directory with initdb and postgres, of the newest server that is installed. Debian keeps
# them out of PATH because several versions may live side by side.
ensure_postgres() {
    if ! find_postgres; then
        need_apt /usr/lib/postgresql postgresql
        find_postgres || die "there is no initdb below /usr/lib/postgresql"
    fi
}

find_postgres() {
    local initdb
    initdb=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1) || true
    [ -n "$initdb" ] || return 1
    PG_BIN=${initdb%/initdb}
    export PG_BIN
}

# ensure_node_modules DIR: installs the Node modules of DIR if they are missing or older than its manifest.
ensure_node_modules() {
    local dir=$1 stamp=$1/node_modules/.deskgate-installed manifest=$1/package.json how=install
    if [ -e "$dir/package-lock.json" ]; then
        manifest=$dir/package-lock.json
        how=ci
    fi
    [ -e "$manifest" ] || die "$dir has no package.json"
    if [ -e "$stamp" ] && ! [ "$manifest" -nt "$stamp" ]; then
        return 0
    fi
    need_apt npm nodejs npm
    say "installing the Node modules of $dir"
    # The tests use the system's browser, so no package need fetch one of its own.
    (cd "$dir" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm "$how" --no-audit --no-fund --loglevel=error >&2)
    touch "$stamp"
}

# Sets DESKGATE_BIN, unless it names a gateway already, to the newest one in target/, which is built if there is none.
find_gateway() {
    local debug=target/debug/deskgate release=target/release/deskgate
    if [ -z "${DESKGATE_BIN:-}" ]; then
        if [ -x "$release" ] && { ! [ -x "$debug" ] || [ "$release" -nt "$debug" ]; }; then
            DESKGATE_BIN=$release
        else
            DESKGATE_BIN=$debug
            [ -x "$debug" ] || cargo build --locked
        fi
    fi
    [ -x "$DESKGATE_BIN" ] || die "DESKGATE_BIN=$DESKGATE_BIN is no program"
    DESKGATE_BIN=$(realpath "$DESKGATE_BIN")
    export DESKGATE_BIN
}

# ---- Processes of the load program and its peers ----
#
# The script that uses these declares the associative arrays PIDS (what it started, by name), PORTS, PREFIXES and
# COOKIES, and DIR, the directory with NAME.log.

# Prints a port below the range that systems give to outgoing connections, and above the desktops' ports.
free_port() {
    local tries port
    for ((tries = 0; tries < 100; tries++)); do
        port=$((20000 + RANDOM % 10000))
        if ! is_open "$port"; then
            printf '%s' "$port"
            return 0
        fi
    done
    die "no free port"
}

# True if something listens on this port of 127.0.0.1.
is_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# await_port NAME PORT: waits until the process listens, and says why if it never does.
await_port() {
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        is_open "$2" && return 0
        kill -0 "${PIDS[$1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$DIR/$1.log" >&2
    die "$1 does not start"
}

# field NAME: the value of a string or number in the line of JSON on standard input.
field() {
    sed -n "s/.*\"$1\":[[:space:]]*\"\{0,1\}\([^\",}]*\).*/\1/p"
}

# Waits until the gateway in PIDS[deskgate] says where it listens and how to get in; sets PORTS, PREFIXES and COOKIES.
# shellcheck disable=SC2034 # The script that sources this uses them.
await_deskgate() {
    local tries line
    for ((tries = 0; tries < 300; tries++)); do
        line=$(grep -m 1 '"cookie"' "$DIR/deskgate.log") && break
        kill -0 "${PIDS[deskgate]}" 2>/dev/null || break
        sleep 0.1
    done
    if [ -z "$line" ]; then
        cat "$DIR/deskgate.log" >&2
        die "deskgate does not start"
    fi
    PORTS[deskgate]=$(field port <<<"$line")
    PREFIXES[deskgate]=$(field prefix <<<"$line")
    COOKIES[deskgate]=$(field cookie <<<"$line")
}

# stop NAME: ends a process that we started and waits for it.
stop() {
    local pid=${PIDS[$1]:-} tries
    [ -n "$pid" ] || return 0
    unset "PIDS[$1]"
    kill "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 50; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        kill -KILL "$pid"
    fi
    wait "$pid" 2>/dev/null || true
}

# enter_own_network VARIABLE SCRIPT ARGUMENTS...: starts the script anew in a network of its own, with VARIABLE set to
# "entered", if that is allowed: there, no firewall rule of this machine (a container engine brings many) costs
# anything, nobody else uses the ports, and nothing can be reached from outside.
enter_own_network() {
    local variable=$1
    shift
    unshare --net true 2>/dev/null || return 0
    need_apt ip iproute2
    exec unshare --net -- env "$variable=entered" "$@"
}
