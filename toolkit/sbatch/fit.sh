#!/usr/bin/env bash
# sbatch sbatch/fit.sh [RUN] [flags of jobs/fit.py]; RUN: runs/latest
# Submit from the checkout. Site values come as flags of sbatch or as SBATCH_* variables.
#SBATCH --job-name=fit
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=00:30:00
#SBATCH --output=fit-%j.log
set -euo pipefail
exec "${PYTHON:-.venv/bin/python}" -m toolkit.commands.fit "$@"
