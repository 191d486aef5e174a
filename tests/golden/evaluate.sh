#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --array=0-1%2
#SBATCH --cpus-per-task=16
#SBATCH --job-name=evaluate
#SBATCH --mem=32000
#SBATCH --nice=7
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/runs/run/slurm/%A_%a_0_log.out
#SBATCH --partition=cpu
#SBATCH --qos=low
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=2:00:00
#SBATCH --wckey=submitit

# setup
setup_end() {
    code=$?
    if [ -n "$setup_line" ]; then
        echo "setup line failed: ${setup_line%%$'\n'*} (exit code $code)"
        exit $((code ? code : 1))
    fi
}
trap setup_end EXIT
setup_line='module load cuda'
eval "$setup_line" || exit
setup_line='source env/bin/activate'
eval "$setup_line" || exit
setup_line=
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export SLURM_BITSTR_LEN=0

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /runs/run/slurm/%A_%a_%t_log.out --ntasks=1 --export=ALL PYTHON -u -m submitit.core._submit /runs/run/slurm
