#!/usr/bin/env bash
# Phase 1 as a Slurm array, then merge and search. Submits three jobs and comes back at once:
#
#     MODEL=model.onnx CALIB=images ./slurm.sh
#
# Run it where the results shall lie, in a folder that all nodes see.
set -euo pipefail

: "${MODEL:?the ONNX model}" "${CALIB:?the folder of calibration inputs}"
SHARDS="${SHARDS:-16}"                # tasks of the array
CPUS="${CPUS:-4}"                     # threads of a task
BUDGET="${BUDGET:-0.6}"               # what is searched for at the end
FLAGS="${FLAGS:-}"                    # further flags of `mpq sensitivity`: --candidates W4A8,W8A8
SBATCH_FLAGS="${SBATCH_FLAGS:-}"      # --partition=... --account=... --time=4:00:00
export MODEL CALIB SHARDS CPUS BUDGET FLAGS
export MPQ_CACHE="$PWD/cache"         # what a killed task had measured is found by the next one
mkdir -p parts logs

# The script of a job on stdin, its flags as arguments; prints the job's number.
submit() {
    # shellcheck disable=SC2086
    sbatch --parsable --export=ALL --requeue --cpus-per-task="$CPUS" --output=logs/%x.log --open-mode=append \
        $SBATCH_FLAGS "$@"
}

ranges=$(submit --job-name=mpq-ranges <<'JOB'
#!/bin/bash
[[ -f ranges.json ]] && exit
srun --cpus-per-task="$CPUS" mpq sensitivity "$MODEL" --calib "$CALIB" $FLAGS --threads "$CPUS" --ranges-only -o ranges.json
JOB
)

# Two minutes before a time limit mpq gets SIGTERM: it saves and exits 143, and the task is put back in the
# queue. So it is when Slurm requeues it: then the task begins anew and finds what it had in the cache.
shards=$(submit --job-name=mpq-shard --dependency="afterok:$ranges" --array="0-$((SHARDS - 1))" \
    --output=logs/%x-%a.log --signal=TERM@120 <<'JOB'
#!/bin/bash
part="parts/$SLURM_ARRAY_TASK_ID.json"
[[ -f "$part" ]] && exit
srun --cpus-per-task="$CPUS" mpq sensitivity "$MODEL" --calib "$CALIB" $FLAGS --threads "$CPUS" --ranges ranges.json \
    --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" -o "$part"
code=$?
[[ $code -eq 143 ]] && scontrol requeue "$SLURM_JOB_ID"
exit $code
JOB
)

merge=$(submit --job-name=mpq-merge --dependency="afterok:$shards" <<'JOB'
#!/bin/bash
set -e
mpq merge parts/*.json -o sensitivity.json
mpq search "$MODEL" --sensitivity sensitivity.json --budget "$BUDGET" -o config.json
JOB
)

echo "jobs $ranges (ranges), $shards (shards), $merge (merge and search)"
