#!/usr/bin/env bash
# Compiles the kernels with their test and runs it under sanitizers: memory and undefined behaviour, then data races.
# Usage: native/run_sanitizers.sh (CXX chooses the compiler)
set -euo pipefail
cd "$(dirname "$0")"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
sources=$(ls ./*.cc | grep -v bindings)
for sanitizers in address,undefined thread; do
  echo "sanitizers: $sanitizers"
  # shellcheck disable=SC2086  # the sources are several words
  "${CXX:-c++}" -std=c++20 -O1 -g -Wall -Wextra -Wpedantic -Werror -D_GLIBCXX_ASSERTIONS -ffp-contract=off -pthread \
    "-fsanitize=$sanitizers" -fno-sanitize-recover=all -I. $sources tests/kernels_test.cc -o "$build/kernels_test"
  "$build/kernels_test"
done
