#!/bin/bash

# Parameters
#SBATCH --array=0-9%10
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --job-name=sample
#SBATCH --mem=48G
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/runs/run/slurm/%A_%a_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=2:00:00
#SBATCH --wckey=submitit

# setup
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export SLURM_BITSTR_LEN=0

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /runs/run/slurm/%A_%a_%t_log.out --ntasks=1 --export=ALL apptainer exec --nv --bind /data vllm.sif python3 -u -m submitit.core._submit /runs/run/slurm
