#!/usr/bin/env bash
# Usage: sbatch [--export=ALL,PYTHON=...] sbatch/fit.sh [RUN] [flags of fit]
# RUN is a run's directory; the default is runs/latest.
# Give partition, account and the like as flags of sbatch or as SBATCH_* variables.
# The Python is the one that PYTHON names, else that of the run's last launch, else that of .venv,
# else python3.
#SBATCH --job-name=fit
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=00:30:00
#SBATCH --output=fit-%j.log
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
    echo "fit.sh: $python has no inference-scaling-toolkit:" \
        "name one that has it by sbatch --export=ALL,PYTHON=/path/to/bin/python" >&2
    exit 2
}
exec "$python" -m toolkit.commands.fit "$@"
