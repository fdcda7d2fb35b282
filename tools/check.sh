#!/usr/bin/env bash
# What must hold beside the tests. Stops at the first check that fails and names it.
#
# Needs uv, git and the package index; 5 minutes on two cores with a warm cache. What it builds lies in a temporary
# folder, removed at the end; the working tree keeps nothing but `.venv` and the tools' caches.
set -euo pipefail
cd "$(dirname "$0")/.."

NEWEST_PYTHON=3.14
work=$(mktemp -d)
current="start"
finish() {
    local status=$?
    rm -rf "$work"
    [[ $status == 0 ]] || printf '\nFAILED: %s\n' "$current" >&2
}
trap finish EXIT

check() { # TITLE COMMAND...
    current=$1
    printf '\n== %s\n' "$current"
    "${@:2}" # not in an `if` or `||`: those switch `set -e` off inside the function called
}

dependencies_of_members() {
    local member
    for member in packages/* apps/*; do
        echo "$member"
        (cd "$member" && uv run --no-sync deptry --no-ansi src)
    done
}

types_of_sources() {
    local said
    said=$(uv run --no-sync pyright --stats) || {
        echo "$said"
        return 1
    }
    grep -E '^(Total files checked: [1-9]|0 errors)' <<<"$said" # without a file there is nothing wrong either
    [[ $said == *"Total files checked: "[1-9]* ]]
}

closure_of_plan() {
    uv export -q --frozen --package lazarus-plan --no-dev --no-emit-workspace --no-hashes --no-annotate --no-header |
        sed 's/==.*//' | diff tools/closure-lazarus-plan.txt - || {
        echo "what lazarus-plan brings along changed; where that is meant, write it into tools/closure-lazarus-plan.txt"
        return 1
    }
}

tests_of_plan_alone() {
    uv run --isolated --package lazarus-plan --group dev --locked python -m pytest packages/lazarus-plan
}

copy_of_clone() { # FOLDER: another resolution rewrites the lock
    mkdir "$1"
    git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C "$1"
}

oldest_dependencies() {
    # Real inputs stay where they are, beside the repository. The slow tests ran with the locked versions.
    # mlx-lm brings transformers, and the newest of it would raise three bounds of ours: here it is the oldest.
    local inputs=${LAZARUS_TEST_DATA:-$PWD/../shared/data}
    copy_of_clone "$work/oldest"
    sed -i.bak 's/^\[tool.uv\]$/&\nconstraint-dependencies = ["transformers==5.7.0"]/' "$work/oldest/pyproject.toml"
    (cd "$work/oldest" &&
        LAZARUS_TEST_DATA=$inputs uv run --isolated -p 3.11 --resolution lowest-direct --all-packages \
            python -m pytest -m "not slow" packages apps)
}

newest_dependencies() {
    local inputs=${LAZARUS_TEST_DATA:-$PWD/../shared/data}
    if ! uv python find -q "$NEWEST_PYTHON" >/dev/null 2>&1; then
        echo "no Python $NEWEST_PYTHON on this machine: its versions are resolved below, not tested"
        return
    fi
    copy_of_clone "$work/newest"
    (cd "$work/newest" &&
        LAZARUS_TEST_DATA=$inputs uv run --isolated -p "$NEWEST_PYTHON" --upgrade --all-packages \
            python -m pytest -m "not slow" packages apps)
}

oldest_of_tokenkit() {
    # Apart from models, whose transformers asks for newer tokenizers and huggingface-hub.
    local members=(packages/lazarus-core packages/lazarus-plan packages/lazarus-tokenkit)
    uv pip compile -q -p 3.11 --resolution lowest-direct --all-extras --no-annotate --no-header \
        "${members[@]/%//pyproject.toml}" | grep -v '^-e' >"$work/oldest-tokenkit.txt"
    uv venv -q -p 3.11 "$work/oldest-tokenkit"
    uv pip install -q -p "$work/oldest-tokenkit" -c "$work/oldest-tokenkit.txt" --group dev \
        -e packages/lazarus-core -e packages/lazarus-plan -e packages/lazarus-tokenkit
    "$work/oldest-tokenkit/bin/python" -m pytest -m "not slow" packages/lazarus-tokenkit
}

resolves_for_others() {
    # Resolved, not installed: with what other projects hold back, and for the newest Python.
    local beside
    for beside in "transformers==4.57.6" "numpy<2.4" "huggingface-hub<1"; do
        uv pip compile -q -p 3.11 --only-binary :all: packages/lazarus-tokenkit/pyproject.toml - <<<"$beside" >"$work/resolved.txt"
        echo "lazarus-tokenkit with $beside: $(grep -cE '^[a-z].*==' "$work/resolved.txt") packages"
    done
    uv pip compile -q --python-version "$NEWEST_PYTHON" --only-binary :all: --all-extras \
        packages/*/pyproject.toml apps/*/pyproject.toml >"$work/resolved.txt"
    echo "all members on Python $NEWEST_PYTHON: $(grep -cE '^[a-z].*==' "$work/resolved.txt") packages, with a wheel each"
}

wheels_together() {
    uv build -q --all-packages --no-sources -o "$work/dist"
    rm "$work"/dist/lazarus_test_support-* # only this repository's tests have it
    uv export -q --frozen --all-packages --no-emit-workspace --no-hashes --no-annotate --no-header >"$work/locked.txt"
    install_wheels together "$work"/dist/*.whl
    uv pip check -p "$work/together"
}

plan_wheel_alone() {
    install_wheels alone "$work"/dist/lazarus_plan-*.whl
    diff <(uv pip freeze -q -p "$work/alone" | sed 's/[= ].*//' | grep -v '^lazarus-') tools/closure-lazarus-plan.txt
    "$work/alone/bin/python" - <<'PYTHON'
import sys
from importlib import import_module
from pkgutil import walk_packages

import lazarus_plan

modules = [module.name for module in walk_packages(lazarus_plan.__path__, "lazarus_plan.")]
for name in modules:
    if not name.endswith("__main__"):
        import_module(name)
learning = {"mlx", "mlx_lm", "torch", "transformers", "tokenizers", "datasets", "jinja2", "safetensors", "tiktoken"}
assert not learning & sys.modules.keys(), learning & sys.modules.keys()
print(f"{len(modules)} modules imported, none of machine learning")
PYTHON
    "$work/alone/bin/lazarus-plan" --version
}

tokenkit_by_uvx() {
    local ids
    ids=$(uvx -q --isolated --refresh-package lazarus-plan --refresh-package lazarus-tokenkit -c "$work/locked.txt" \
        --find-links "$work/dist" lazarus-tokenkit encode -t byte "hello")
    echo "$ids"
    [[ $ids == *104*101*108*108*111* ]]
}

install_wheels() { # NAME WHEEL...: into an empty environment, everything else as locked
    uv venv -q "$work/$1"
    uv pip install -q -p "$work/$1" -c "$work/locked.txt" --find-links "$work/dist" "${@:2}"
}

check "the lock is fresh" uv lock --check
check "the environment is what the lock says" uv sync --locked
check "sibling ranges hold" uv pip check
check "ruff" uv run --no-sync ruff check
check "ruff, format" uv run --no-sync ruff format --check
check "pyright, strict over src" types_of_sources
check "imports go one way" uv run --no-sync lint-imports --no-logo
check "members depend on what they import" dependencies_of_members
check "lazarus-plan brings only what is listed" closure_of_plan
check "lazarus-plan's tests, alone" tests_of_plan_alone
check "quick tests with the oldest versions allowed" oldest_dependencies
check "quick tests with the newest versions and Python" newest_dependencies
check "lazarus-tokenkit's quick tests with its oldest versions, alone" oldest_of_tokenkit
check "others' versions resolve" resolves_for_others
check "all wheels, built and resolved together" wheels_together
check "lazarus-plan's wheel, alone" plan_wheel_alone
check "lazarus-tokenkit's wheel by uvx" tokenkit_by_uvx
printf '\nall checks passed\n'
