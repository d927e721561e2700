#!/usr/bin/env bash
# The Slurm example on a real Slurm: a controller and a node on this machine. Two tasks are stopped half-way and
# requeued; what is merged is compared byte for byte with a single run.
#
#     tests/cluster/slurm.sh MPQ MODEL CALIB
#
# Needs root and apt, or Slurm and munge that are installed. Exits 3 where it has neither.
set -euo pipefail

mpq="$(realpath "$1")" model="$(realpath "$2")" calib="$(realpath "$3")"
example="$(realpath "$(dirname "$0")/../../examples/cluster/slurm.sh")"
samples=256 shards=3

fail() {
    echo "error: $1" >&2
    tail --lines=20 "$work"/slurm/*.log "$work"/run/logs/*.log >&2 2> /dev/null || true
    exit 1
}

if ! command -v slurmctld slurmd sbatch munged > /dev/null; then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get > /dev/null; then
        echo "cannot install Slurm: this takes root and apt-get" >&2
        exit 3
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --no-install-recommends slurmctld slurmd slurm-client munge > /dev/null
fi
if [[ $EUID -ne 0 ]]; then
    echo "cannot start Slurm: this takes root" >&2
    exit 3
fi

work="$(mktemp --directory)"
# Slurm is stopped by the process ids that it wrote.
stop() {
    for daemon in slurmctld slurmd munged; do
        if [[ -f "$work/slurm/$daemon.pid" ]]; then
            kill "$(cat "$work/slurm/$daemon.pid")" || true
        fi
    done
    sleep 1
    rm --recursive --force "$work"
}
trap stop EXIT
mkdir "$work/slurm" "$work/run" "$work/bin"
chmod 755 "$work"
ln -s "$mpq" "$work/bin/mpq"
export PATH="$work/bin:$PATH"

# munge, which tells the daemons and commands who speaks.
if [[ ! -s /etc/munge/munge.key ]]; then
    install --directory --owner=munge --group=munge --mode=700 /etc/munge
    head --bytes=1024 /dev/urandom > /etc/munge/munge.key
    chown munge:munge /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
fi
if ! munge --no-input > /dev/null 2>&1; then
    install --directory --owner=munge --group=munge --mode=755 /run/munge
    install --directory --owner=munge --group=munge --mode=700 "$work/slurm/munge"
    runuser --user munge -- munged --force --pid-file="$work/slurm/munge/pid" \
        --log-file="$work/slurm/munge/log" --seed-file="$work/slurm/munge/seed"
    cp "$work/slurm/munge/pid" "$work/slurm/munged.pid"
fi

# The ports are others than those of a Slurm that may be there.
host="$(hostname --short)"
export SLURM_CONF="$work/slurm/slurm.conf"
cat > "$SLURM_CONF" << CONF
ClusterName=mpq
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/spool
SlurmctldPidFile=$work/slurm/slurmctld.pid
SlurmdPidFile=$work/slurm/slurmd.pid
SlurmctldLogFile=$work/slurm/slurmctld.log
SlurmdLogFile=$work/slurm/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
mkdir "$work/slurm/state" "$work/slurm/spool"
slurmctld
slurmd
for ((wait = 0; wait < 30; wait++)); do
    [[ "$(sinfo --noheader --format=%T 2> /dev/null)" == idle ]] && break
    sleep 1
done
[[ "$(sinfo --noheader --format=%T)" == idle ]] || fail "Slurm does not start"

# What the example is to make again.
cd "$work/run"
candidates=W4A4,W4A6,W4A8,W4A16,W6A6,W6A8,W6A16,W8A6,W8A8,W8A16
flags="--samples $samples --candidates $candidates"
# shellcheck disable=SC2086
mpq sensitivity "$model" --calib "$calib" $flags -o whole.json --quiet --no-cache

jobs=$(MODEL="$model" CALIB="$calib" SHARDS=$shards CPUS=1 FLAGS="$flags" "$example")
array=$(grep --only-matching '[0-9]*' <<< "$jobs" | sed --quiet 2p)

# Waits until a task says that it measures, with the process that does it.
measuring() {
    local beat="parts/$1.json.progress"
    for ((wait = 0; wait < 600; wait++)); do
        [[ -f "$beat" ]] && grep --only-matching '"pid":[0-9]*' "$beat" | cut --delimiter=: --fields=2 && return
        [[ -f "parts/$1.json" ]] && fail "task $1 is done before it could be killed"
        sleep 0.05
    done
    fail "task $1 does not begin"
}
# Slurm lets a requeued task wait for two minutes.
start_again() {
    for ((wait = 0; wait < 120; wait++)); do
        [[ "$(squeue --noheader --jobs="${array}_$1" --format=%T)" == PENDING ]] && break
        sleep 0.5
    done
    scontrol update JobId="${array}_$1" StartTime=now
}

# One task is requeued by Slurm, another gets SIGTERM, as before a time limit, and requeues itself.
measuring 0 > /dev/null
terminated=$(measuring 1)
sleep 1
[[ -f parts/0.json || -f parts/1.json ]] && fail "a task is done before it could be killed"
scontrol requeue "${array}_0"
kill -TERM "$terminated"
start_again 0
start_again 1
for ((wait = 0; wait < 180; wait++)); do
    [[ -f config.json ]] && break
    sleep 1
done
mpq merge --status parts || true
[[ -f config.json ]] || fail "the jobs do not end: $(squeue --noheader)"
for task in 0 1; do
    scontrol --oneliner show job "${array}_$task" | grep --quiet 'Restarts=1' || fail "task $task was not requeued"
    grep --quiet '^resumed: ' "logs/mpq-shard-$task.log" || fail "task $task began anew"
done
grep --quiet '^terminated in Sensitivity' logs/mpq-shard-1.log || fail "SIGTERM was not heard"
cmp whole.json sensitivity.json || fail "the merged file is not what one run writes"
echo "Slurm $(slurmctld -V | cut --delimiter=' ' --fields=2): $jobs: two tasks were stopped and went on from their cache, and $shards shards make the whole, byte for byte"
