#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --cpus-per-task=16
#SBATCH --job-name=fit
#SBATCH --mem=32000
#SBATCH --nice=100
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/runs/run/slurm/%j_0_log.out
#SBATCH --partition=cpu
#SBATCH --qos=low
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=10
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
srun --unbuffered --output /runs/run/slurm/%j_%t_log.out --ntasks=1 --export=ALL PYTHON -u -m submitit.core._submit /runs/run/slurm
