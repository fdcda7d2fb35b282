#!/usr/bin/env bash
# What must hold beside the tests. Stops at the first check that fails and names it.
#
# Needs uv, git and the package index; 5 minutes on two cores with a warm cache. What it builds lies in a temporary
# folder, removed at the end; the working tree keeps nothing but `.venv` and the tools' caches.
set -euo pipefail
cd "$(dirname "$0")/.."

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

oldest_dependencies() {
    # In a copy: another resolution rewrites the lock. Real inputs stay where they are, beside the repository.
    local inputs=${LAZARUS_TEST_DATA:-$PWD/../shared/data}
    mkdir "$work/oldest"
    git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C "$work/oldest"
    (cd "$work/oldest" &&
        LAZARUS_TEST_DATA=$inputs uv run --isolated --resolution lowest-direct --all-packages python -m pytest \
            -m "not slow" packages apps) # the slow ones ran with the locked versions
}

wheels_together() {
    uv build -q --all-packages --no-sources -o "$work/dist"
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
check "all wheels, built and resolved together" wheels_together
check "lazarus-plan's wheel, alone" plan_wheel_alone
check "lazarus-tokenkit's wheel by uvx" tokenkit_by_uvx
printf '\nall checks passed\n'
