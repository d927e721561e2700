#!/usr/bin/env bash
# Phase 1 on a few machines that share a folder, then merge and search. On each of them, in that folder:
#
#     MODEL=model.onnx CALIB=images ./shell.sh
#
# Machines may come late, leave early, and be started again: a shard is done by whoever holds its lock.
set -euo pipefail

: "${MODEL:?the ONNX model}" "${CALIB:?the folder of calibration inputs}"
SHARDS="${SHARDS:-16}"                # the same on all machines
BUDGET="${BUDGET:-0.6}"               # what is searched for at the end
FLAGS="${FLAGS:-}"                    # further flags of `mpq sensitivity`: --candidates W4A8,W8A8
export MPQ_CACHE="$PWD/cache"         # what a killed machine had measured is found by the next one
mkdir -p parts locks

# A file, then the command that makes it; for those who hold the lock, unless the file is there.
make() {
    local file="$1"
    shift
    [[ -f "$file" ]] || "$@" -o "$file"
}
measure() {
    # shellcheck disable=SC2086
    mpq sensitivity "$MODEL" --calib "$CALIB" $FLAGS "$@"
}

# Whoever is second waits for the ranges; a lock goes with the machine that holds it.
(flock 9; make ranges.json measure --ranges-only) 9> locks/ranges

for ((shard = 0; shard < SHARDS; shard++)); do
    (
        flock --nonblock 9 || exit 0  # another machine is at it
        make "parts/$shard.json" measure --ranges ranges.json --shard "$shard/$SHARDS"
    ) 9> "locks/$shard"
done

# The last one to be done has all parts; the others leave.
mpq merge --status parts || exit 0
(
    flock 9
    make sensitivity.json mpq merge parts/*.json
    make config.json mpq search "$MODEL" --sensitivity sensitivity.json --budget "$BUDGET"
) 9> locks/merge
