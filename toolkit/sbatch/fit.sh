#!/usr/bin/env bash
# Usage: sbatch sbatch/fit.sh [RUN] [flags of jobs/fit.py]
# RUN is a run's directory; the default is runs/latest.
# Submit from the checkout. Give partition, account and the like as flags of sbatch or as SBATCH_*
# variables.
#SBATCH --job-name=fit
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=00:30:00
#SBATCH --output=fit-%j.log
set -euo pipefail
exec "${PYTHON:-.venv/bin/python}" -m toolkit.commands.fit "$@"
