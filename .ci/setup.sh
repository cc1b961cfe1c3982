#!/usr/bin/env bash
# Makes .venv with everything that Atlas needs; run by `make setup`. Safe to run again, and quick when nothing changed.
#
#   PYTHON  interpreter to start from (default: the first of python3, python3.13 ... that is 3.11 or newer)
#   TORCH   what to give to `pip install` for torch, for example "torch==2.6.0" or
#           "torch --index-url https://download.pytorch.org/whl/cu126"; default: a torch that is already there is
#           kept, else the CPU build is tried before any other
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH_VERSION=2.13.0
TORCH_INDEX=https://download.pytorch.org/whl/cpu
VENV=.venv
LOG=$VENV/setup.log
began=$SECONDS

say() { printf '[setup] %s\n' "$*" >&2; }
stop() { say "$1"; shift; for line in "$@"; do printf '        %s\n' "$line" >&2; done; exit 1; }

# run TEXT COMMAND...: the command's output goes to the log, the time and every 20 seconds of waiting to the screen.
run() {
    local text=$1 start=$SECONDS status=0 child
    shift
    printf '[setup] %s ' "$text" >&2
    "$@" >>"$LOG" 2>&1 </dev/null &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        (( (SECONDS - start) / 20 > ${ticks:=0} )) && { ticks=$(( (SECONDS - start) / 20 )); printf '.' >&2; }
    done
    ticks=0
    wait "$child" || status=$?
    if [ "$status" -eq 0 ]; then printf '(%d s)\n' $((SECONDS - start)) >&2; else printf 'failed\n' >&2; fi
    return "$status"
}

# ------------------------------------------------------------------------------------------------ system packages

suitable() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if suitable "$candidate"; then command -v "$candidate"; return; fi
    done
}

# The Debian packages that are missing, one per line. A library counts as present when pkg-config finds it.
missing_packages() {
    local python=$1
    command -v "${CC:-cc}" >/dev/null || echo build-essential
    command -v git >/dev/null || echo git
    command -v openssl >/dev/null || echo openssl
    command -v pkg-config >/dev/null || echo pkg-config
    pkg-config --exists 'libcrypto >= 3.0' 2>/dev/null || echo libssl-dev
    pkg-config --exists 'libcbor >= 0.8' 2>/dev/null || echo libcbor-dev
    pkg-config --exists 'jansson >= 2.10' 2>/dev/null || echo libjansson-dev
    pkg-config --exists 'tss2-esys >= 3.0' 2>/dev/null || echo libtss2-dev
    if [ -z "$python" ]; then
        printf '%s\n' python3 python3-dev python3-venv
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        "$python" - <<'PY' || echo python3-dev
import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())
PY
    fi
}

# What only tests want; without it they are skipped.
missing_test_packages() {
    command -v swtpm >/dev/null || echo swtpm
    command -v swtpm_setup >/dev/null || echo swtpm-tools
    command -v tpm2_createprimary >/dev/null || echo tpm2-tools
}

install_test_packages() {
    local packages
    packages=$(missing_test_packages | xargs)
    [ -z "$packages" ] && return
    if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        run "apt-get install $packages" sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends "$@"' apt $packages && return
    fi
    say "the tests with a TPM will be skipped: $packages not installed"
}

install_packages() {
    local packages=$1
    [ -z "$packages" ] && return
    if ! command -v apt-get >/dev/null; then
        stop "this machine lacks what these Debian packages hold: $packages" \
            "Install their counterparts with your package manager, then run the same command again."
    elif [ "$(id -u)" -ne 0 ]; then
        stop "missing: $packages" "Run: sudo apt-get install $packages" "then the same command again."
    fi
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    run "apt-get install $packages" sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends "$@"' apt $packages ||
        { tail -n 15 "$LOG" >&2; stop "apt-get could not install: $packages" "The whole output is in $LOG."; }
}

system() {
    local missing
    mkdir -p "$VENV" && : >"$LOG"
    [ -z "${PYTHON:-}" ] || suitable "$PYTHON" || stop "PYTHON=$PYTHON is not there, or older than 3.11"
    missing=$(missing_packages "$(find_python)" | xargs)
    install_packages "$missing"
    install_test_packages
    python=$(find_python)
    [ -n "$python" ] || stop "no Python 3.11 or newer was found" "Name one: make setup PYTHON=/path/to/python3.12"
    missing=$(missing_packages "$python" | xargs)
    [ -z "$missing" ] || stop "still missing for $python: $missing" \
        "Its headers or its venv module are not there; install them, or name another one with PYTHON=..."
}

# --------------------------------------------------------------------------------------------------------- .venv

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# The folder of a torch that the starting interpreter can import and that is new enough; else nothing.
torch_home() {
    "$python" 2>/dev/null - <<'PY' || true
import pathlib, torch
if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 4):
    print(pathlib.Path(torch.__file__).parents[1])
PY
}

make_venv() {
    local version
    version=$("$python" -c 'import platform; print(platform.python_version())')
    if ! suitable "$VENV/bin/python" || ! pip --version >/dev/null 2>&1; then
        say "python $version ($python) -> $VENV"
        "$python" -m venv --clear "$VENV" || stop "could not make $VENV with $python"
    fi
    : >"$LOG"
}

install_torch() {
    local home site build
    if [ -n "${TORCH:-}" ]; then
        # shellcheck disable=SC2086
        run "torch: $TORCH" pip install $TORCH && return
        failed "could not install: $TORCH"
    fi
    pip show -q torch 2>/dev/null && return
    home=$(torch_home)
    if [ -n "$home" ]; then
        site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
        echo "$home" >"$site/kept-torch.pth" # what stands in .venv itself comes first
        say "torch: the one in $home is kept"
        return
    fi
    for build in "torch==$TORCH_VERSION+cpu" \
        "torch==$TORCH_VERSION+cpu --extra-index-url $TORCH_INDEX --timeout 20 --retries 1" "torch==$TORCH_VERSION"; do
        # shellcheck disable=SC2086
        run "torch: trying ${build%% --*}${build:+$(case $build in *pytorch.org*) echo " from pytorch.org";; esac)}" \
            pip install $build && return
    done
    failed "torch could not be installed" "Say how: make setup TORCH=\"torch==$TORCH_VERSION --index-url ...\""
}

failed() {
    local hint="The whole output is in $LOG."
    if grep -q 'No matching distribution\|connection broken' "$LOG"; then
        hint+=" Is a package index reachable (PIP_INDEX_URL, PIP_FIND_LINKS, a proxy)?"
    fi
    tail -n 15 "$LOG" >&2
    stop "$@" "$hint"
}

install_atlas() {
    run "tools: setuptools, wheel" pip install 'setuptools>=77' wheel || failed "setuptools could not be installed"
    run "atlas: C core, package, test tools" pip install --no-build-isolation -e '.[test,torch,safetensors]' ||
        failed "Atlas could not be built or installed"
}

# ---------------------------------------------------------------------------------------------------------- main

stamp=$VENV/.installed
wanted=$(cat pyproject.toml .ci/setup.sh; echo "$PWD ${PYTHON:-} ${TORCH:-}")
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    if [ -n "$(find csrc setup.py -newer "$VENV/.built" \( -name '*.[ch]' -o -name setup.py \) -print -quit)" ]; then
        : >"$LOG"
        run "C core changed: building" "$VENV/bin/python" setup.py -q build_ext --inplace || failed "the C core does not build"
        touch "$VENV/.built"
    fi
else
    system
    make_venv
    install_torch
    install_atlas
    touch "$VENV/.built"
    printf '%s\n' "$wanted" >"$stamp"
    say "ready after $((SECONDS - began)) s; \`source .venv/bin/activate\` gives you the atlas command"
fi
