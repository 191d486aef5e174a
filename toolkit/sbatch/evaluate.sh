#!/usr/bin/env bash
# Usage: sbatch [--array=0-3] sbatch/evaluate.sh [RUN] [flags of jobs/evaluate.py]
# RUN is a run's directory; the default is runs/latest. An array must start at 0.
# Submit from the checkout. Give partition, account and the like as flags of sbatch or as SBATCH_*
# variables.
#SBATCH --job-name=evaluate
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=02:00:00
#SBATCH --output=evaluate-%j.log
set -euo pipefail
exec "${PYTHON:-.venv/bin/python}" -m toolkit.commands.evaluate \
    --part "${SLURM_ARRAY_TASK_ID:-0}" --parts "${SLURM_ARRAY_TASK_COUNT:-1}" "$@"
