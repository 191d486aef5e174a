#!/usr/bin/env bash
# Usage: sbatch [--array=0-3] [--export=ALL,PYTHON=...] sbatch/evaluate.sh [RUN] [flags of evaluate]
# RUN is a run's directory; the default is runs/latest. An array must start at 0.
# Give partition, account and the like as flags of sbatch or as SBATCH_* variables.
# The Python is the one that PYTHON names, else that of the run's last launch, else that of .venv,
# else python3.
#SBATCH --job-name=evaluate
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=02:00:00
#SBATCH --output=evaluate-%j.log
set -euo pipefail
python_of_run() {  # the newest one that launches.jsonl records
    grep -o '"executable": *"[^"]*"' "$1/launches.jsonl" 2>/dev/null | tail -n 1 | cut -d '"' -f 4 || true
}
run=runs/latest
[[ $# -eq 0 || $1 == -* ]] || run=$1
for found in "$(python_of_run "$run")" .venv/bin/python python3; do
    [[ -x $found ]] && break
done
python=${PYTHON:-$found}
"$python" -c 'import toolkit, polars' 2>/dev/null || {
    echo "evaluate.sh: $python has no inference-scaling-toolkit:" \
        "name one that has it by sbatch --export=ALL,PYTHON=/path/to/bin/python" >&2
    exit 2
}
exec "$python" -m toolkit.commands.evaluate \
    --part "${SLURM_ARRAY_TASK_ID:-0}" --parts "${SLURM_ARRAY_TASK_COUNT:-1}" "$@"
