#!/usr/bin/env bash
# A real Slurm on this one machine, for tests. It consists of munge, MariaDB, slurmdbd, slurmctld
# and one slurmd for each virtual node. A node has four fake A100, and more CPUs and memory than
# there are.
#
#   cluster.sh up [N]            start N nodes [10]; do nothing if such a cluster is up
#   cluster.sh env               print what Slurm's commands need: eval "$(cluster.sh env)"
#   cluster.sh start-node NODE   start the slurmd of a node again, after a test has killed it
#   cluster.sh down [--purge]    end the daemons and their jobs; purge: delete all they have written
#
# Partitions: cpu (the default), gpu, and scavenge. Jobs of the first two preempt those of scavenge,
# which are then requeued.
#
# CLUSTER_DIR   directory for everything [one for this checkout, in $TMPDIR or /tmp]
# CLUSTER_PORT  the first of the ports it listens on [the first free hundred from 17000]
# CLUSTER_CONF  more lines for slurm.conf, for instance MinJobAge=2
# CLUSTER_MEMORY  cgroup: the kernel ends a step over its memory, and accounting says OUT_OF_MEMORY
#               [poll: Slurm looks every two seconds, and accounting says FAILED]
#
# Everything listens on loopback only. Slurm can listen on all addresses, or on that of the
# machine's own name. So the daemons and their jobs run under the name localhost, in a UTS
# namespace. If that is forbidden, the machine's own name must resolve to 127.*.
set -euo pipefail
shopt -s inherit_errexit nullglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
own=slurm-test-$(cksum <<<"$here" | cut -d' ' -f1)
dir=$(realpath -m "${CLUSTER_DIR:-${TMPDIR:-/tmp}/$own}")
etc=$dir/etc run=$dir/run logs=$dir/log
conf=$etc/slurm.conf munge_socket=$run/munge.sock sql_socket=$run/mariadb.sock

PATH=$PATH:/usr/sbin:/sbin
unset "${!SLURM_@}" "${!SBATCH_@}" "${!SALLOC_@}" # they are set if this is called from a job
export SLURM_CONF=$conf

main() {
    local action=${1:-}
    shift || true
    case $action in
        up) up "${1:-10}" ;;
        env) env_lines ;;
        start-node) start_node "${1:?which node?}" ;;
        down) down "${1:-}" ;;
        *) die "usage: cluster.sh up [N] | env | start-node NODE | down [--purge]" ;;
    esac
}

up() {
    local nodes=$1 host=localhost port device
    [[ $nodes =~ ^[1-9][0-9]?$ ]] || die "$nodes nodes: must be a number from 1 to 99"
    [[ $(id -u) == 0 ]] || die "only root may start it, because slurmd runs jobs as their users"
    [[ $dir =~ ^[A-Za-z0-9/._-]{2,80}$ ]] ||
        die "CLUSTER_DIR=$dir: at most 80 characters of A-Z a-z 0-9 / . _ -, because of the sockets"
    if ! unshare --uts true 2>/dev/null; then
        host=$(hostname)
        [[ $(getent ahostsv4 "$host") == 127.* ]] ||
            die "Slurm would listen on all addresses; put '127.0.0.1 $host' into /etc/hosts"
    fi
    mkdir -p "$etc" "$logs" "$run" "$dir/state" "$dir/dev"
    for device in "$dir"/dev/nvidia{0..3}; do
        [[ -c $device ]] || mknod "$device" c 1 3
    done
    exec 9>"$dir/lock"
    flock 9
    port=$(choose_port "$nodes")
    write_configuration "$nodes" "$host" "$port" "$etc/new"
    if diff -q "$etc/new" "$conf" >/dev/null 2>&1 && healthy "$nodes"; then
        say "up already"
        return
    fi
    stop_daemons
    mv "$etc/new" "$conf"
    start_munge
    start_accounting "$((port + 1))"
    daemon slurmctld
    until_true 30 "slurmctld to answer" controller_answers
    local i
    for ((i = 1; i <= nodes; i++)); do start_node "node$i"; done
    until_true 60 "$nodes nodes to be idle" healthy "$nodes"
    echo "$port" >"$dir/port"
    say "up in $SECONDS s: $nodes nodes; eval \"\$(${BASH_SOURCE[0]} env)\""
}

env_lines() {
    controller_answers || die "no cluster is up in $dir; start one with: cluster.sh up"
    echo "export SLURM_CONF=$conf"
}

start_node() {
    mkdir -p "$dir/spool/$1"
    daemon slurmd -N "$1"
}

down() {
    [[ -d $dir ]] || return 0
    exec 9>"$dir/lock"
    flock 9
    stop_daemons
    if [[ $1 == --purge ]]; then rm -rf --one-file-system "$dir"; fi
    say "down in $SECONDS s"
}

# ---------------------------------------------------------------- configuration

choose_port() { # NODES: the port it had before, else the first one with enough free ports after it
    local port last
    if [[ -n ${CLUSTER_PORT:-} ]]; then
        echo "$CLUSTER_PORT"
    elif [[ -s $dir/port ]]; then
        cat "$dir/port"
    else
        for ((port = 17000; port < 32000; port += 100)); do
            for ((last = port; last <= port + 2 + $1; last++)); do
                ! (: <"/dev/tcp/127.0.0.1/$last") 2>/dev/null || continue 2
            done
            echo "$port"
            return
        done
        die "no free ports between 17000 and 32000; name a first one with CLUSTER_PORT"
    fi
}

# Ports: slurmctld, MariaDB, slurmdbd, then the nodes.
# cred_expire  how long a requeued job waits before it starts again. Default: 120 s
# File         a fake GPU needs a character device, or CUDA_VISIBLE_DEVICES is not set: here /dev/null
#              by other names, from whose numbers Slurm counts
# GraceTime    time from the signal of a preemption (the job's own --signal) to the end
write_configuration() { # NODES HOST PORT FILE
    local nodes=$1 host=$2 port=$3
    local task=none ram=no memory=JobAcctGatherParams=OverMemoryKill
    if [[ ${CLUSTER_MEMORY:-poll} == cgroup ]]; then
        # All clusters of a machine share one folder of cgroups, so their job ids must differ.
        task=cgroup ram=yes memory=FirstJobId=$(((port - 17000) * 100 + 1))
    fi
    cat >"$4" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthInfo=socket=$munge_socket,cred_expire=10
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd.%n.pid
SlurmctldLogFile=$logs/slurmctld.log
SlurmdLogFile=$logs/slurmd.%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/$task
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
$memory
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 2))
AccountingStoragePass=$munge_socket
AccountingStorageTRES=gres/gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=200
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
BatchStartTimeout=30
KillWait=5
GresTypes=gpu
NodeName=node[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 3))-$((port + 2 + nodes))] CPUs=8 RealMemory=16000 Gres=gpu:a100:4
PartitionName=cpu Nodes=ALL Default=YES DefaultTime=60 PriorityTier=10
PartitionName=gpu Nodes=ALL DefaultTime=60 PriorityTier=10
PartitionName=scavenge Nodes=ALL DefaultTime=60 PriorityTier=1 GraceTime=20
${CLUSTER_CONF:-}
CONF
    cat >"$etc/gres.conf" <<CONF
NodeName=node[1-$nodes] Name=gpu Type=a100 File=$dir/dev/nvidia[0-3]
CONF
    cat >"$etc/cgroup.conf" <<CONF
CgroupPlugin=cgroup/v1
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=$ram
ConstrainSwapSpace=$ram
CONF
    (
        umask 077 # slurmdbd refuses a file that others can read
        cat >"$etc/slurmdbd.conf" <<CONF
AuthInfo=socket=$munge_socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((port + 2))
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
PidFile=$run/slurmdbd.pid
LogFile=$logs/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 1))
StorageUser=slurm
StoragePass=slurm
CONF
    )
}

# ---------------------------------------------------------------- starting

daemon() { # PROGRAM ARGUMENT...: start it, under the name localhost if possible
    local enter=()
    if unshare --uts true 2>/dev/null; then
        # shellcheck disable=SC2016
        enter=(unshare --uts sh -c 'hostname localhost && exec "$@"' sh)
    fi
    "${enter[@]}" "$@" </dev/null >>"$logs/${1##*/}.out" 2>&1 9>&-
}

start_munge() {
    [[ -s $etc/munge.key ]] || (umask 077 && head -c 1024 /dev/urandom >"$etc/munge.key")
    rm -f "$munge_socket"*
    daemon munged --force --key-file="$etc/munge.key" --socket="$munge_socket" \
        --pid-file="$run/munged.pid" --log-file="$logs/munged.log" --seed-file="$etc/munge.seed"
    until_true 10 "munged to answer" munge --socket="$munge_socket" --no-input
}

start_accounting() { # PORT of MariaDB
    local data=$dir/mariadb client=(--no-defaults --user=root --socket="$sql_socket")
    if [[ ! -e $data/ready ]]; then
        rm -rf "$data"
        mariadb-install-db --no-defaults --user=root --datadir="$data" --skip-test-db \
            --auth-root-authentication-method=normal >"$logs/mariadb-install.log" 2>&1 9>&-
    fi
    rm -f "$sql_socket"
    daemon setsid --fork mariadbd --no-defaults --user=root --datadir="$data" --socket="$sql_socket" \
        --pid-file="$run/mariadbd.pid" --bind-address=127.0.0.1 --port="$1" --skip-log-bin \
        --skip-name-resolve --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 \
        --log-error="$logs/mariadbd.log"
    until_true 60 "MariaDB to answer" mariadb-admin "${client[@]}" ping
    if [[ ! -e $data/ready ]]; then
        mariadb "${client[@]}" --execute="
            CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
            GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';"
        touch "$data/ready"
    fi
    daemon slurmdbd
    until_true 60 "slurmdbd to answer" sacctmgr --noheader show cluster
    [[ -n $(sacctmgr --noheader show cluster) ]] || sacctmgr --immediate --quiet add cluster test >"$logs/sacctmgr.out"
}

controller_answers() { # if its process is gone, do not ask: scontrol would try for a minute
    [[ -n $(pid_of "$run/slurmctld.pid") && $(scontrol ping 2>/dev/null) == *" is UP" ]]
}

healthy() { # NODES: every daemon lives and every node takes work
    local name
    for name in munged mariadbd slurmdbd slurmctld; do
        [[ -n $(pid_of "$run/$name.pid") ]] || return 1
    done
    controller_answers || return 1
    [[ $(sinfo --noheader --Node --partition=cpu --format=%t | grep -Ecx 'idle|mix|alloc') == "$1" ]]
}

# ---------------------------------------------------------------- stopping

stop_daemons() {
    local file slurmds=()
    for file in "$run"/slurmd.*.pid; do slurmds+=("$(pid_of "$file")"); done
    cancel_jobs
    stop "${slurmds[@]}"
    stop_left_over_steps
    for file in slurmctld slurmdbd mariadbd munged; do stop "$(pid_of "$run/$file.pid")"; done
    rm -f "$run"/*.pid
}

cancel_jobs() { # so that jobs end in the usual way, with all that they have started
    controller_answers || return 0
    local jobs
    mapfile -t jobs < <(squeue --noheader --format=%A | sort -u)
    [[ ${#jobs[@]} -gt 0 ]] || return 0
    scancel --full --signal=KILL "${jobs[@]}" 2>/dev/null || true
    scancel "${jobs[@]}" 2>/dev/null || true
    until_true 15 "jobs to end" no_jobs || true
}

no_jobs() { [[ -z $(squeue --noheader) ]]; }

stop_left_over_steps() { # steps that survive a killed slurmd: their SLURM_CONF is ours
    local step process
    for step in $(pgrep --exact slurmstepd); do
        grep --quiet --null-data --line-regexp "SLURM_CONF=$conf" "/proc/$step/environ" || continue
        for process in $(descendants "$step"); do kill -KILL "$process" 2>/dev/null || true; done
        stop "$step"
    done
}

descendants() {
    local child
    for child in $(pgrep --parent "$1"); do
        descendants "$child"
        echo "$child"
    done
}

pid_of() { # PIDFILE: its process, if it lives and is the program of the file's name
    local pid program=${1##*/}
    program=${program%%.*}
    pid=$(cat "$1" 2>/dev/null) || return 0
    case $(readlink "/proc/$pid/exe") in
        */"$program" | */"$program"-wlm) echo "$pid" ;; # Debian's slurmd is slurmd-wlm
    esac
}

stop() { # PID...: ask them to end; after 20 s kill them
    local pids
    read -ra pids <<<"$*"
    [[ ${#pids[@]} -gt 0 ]] || return 0
    kill -TERM "${pids[@]}" 2>/dev/null || true
    until_true 20 "processes ${pids[*]} to end" ended "${pids[@]}" ||
        kill -KILL "${pids[@]}" 2>/dev/null || true
}

ended() { # PID...: a zombie has ended too, even if init does not reap it
    local pid
    for pid; do
        grep --quiet --no-messages '^State:[[:space:]]*[^Z]' "/proc/$pid/status" && return 1
    done
    return 0
}

# ---------------------------------------------------------------- helpers

until_true() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || die "gave up waiting for $what; see the logs in $logs"
        sleep 0.1
    done
}

say() { echo "cluster.sh: $*" >&2; }

die() {
    say "$*"
    exit 1
}

main "$@"
