#!/bin/sh
# Installs the programs that the benchmarks compare with. Whatever cannot be installed is left out of the tables.
#
#   sh benchmarks/harness/install-peers.sh
#
# - GNU parallel, task-spooler, nq and a C compiler: with apt-get, as root or through sudo.
# - simple-gpu-scheduler 0.1.4, the original, from PyPI: into a virtual environment of its own, benchmarks/.peers/venv.
# - gq-local, gpusched, gpuqu and HyperQueue, queues of their own, from PyPI: into benchmarks/.peers/queues.
#
# PYTHON names the interpreter of that environment (python3). Take the one that runs the benchmarks.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-python3}
venv=$here/.peers/venv
queues=$here/.peers/queues
failed=0

warn() {
    printf 'install-peers: %s\n' "$*" >&2
    failed=1
}

# Prints the Debian packages whose program is missing.
missing_packages() {
    for pair in parallel:parallel tsp:task-spooler nq:nq cc:gcc cc:libc6-dev; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || printf '%s ' "${pair#*:}"
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        return 1
    fi
}

packages=$(missing_packages)
if [ -z "$packages" ]; then
    echo "parallel, tsp, nq and cc are there"
elif command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # a list of words
    as_root apt-get install -y --no-install-recommends $packages ||
        warn "could not install: $packages(as root: apt-get update && apt-get install $packages)"
else
    warn "no apt-get here; install by hand: $packages"
fi

if [ -x "$venv/bin/simple_gpu_scheduler" ]; then
    echo "simple-gpu-scheduler 0.1.4 is there"
elif ! { "$python" -m venv "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check simple-gpu-scheduler==0.1.4; }; then
    warn "could not install simple-gpu-scheduler 0.1.4 from PyPI"
fi

if [ -x "$queues/bin/python" ] || "$python" -m venv "$queues"; then
    for package in gq-local==0.3.0 gpusched==0.4.0 gpuqu==0.1.3 hyperqueue==0.27.0; do # each without the others
        if "$queues/bin/python" -m pip install --quiet --disable-pip-version-check "$package"; then
            echo "$package is there"
        else
            warn "could not install $package from PyPI"
        fi
    done
else
    warn "could not make a virtual environment in $queues"
fi
exit "$failed"
