#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --cpus-per-task=16
#SBATCH --exclude=node7
#SBATCH --job-name=fit
#SBATCH --mem=32G
#SBATCH --nice=100
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/runs/run/slurm/%j_0_log.out
#SBATCH --partition=cpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=120
#SBATCH --wckey=submitit

# setup
module load cuda
source env/bin/activate
export SLURM_BITSTR_LEN=0

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /runs/run/slurm/%j_%t_log.out PYTHON -u -m submitit.core._submit /runs/run/slurm
