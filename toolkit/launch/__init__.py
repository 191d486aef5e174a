"""From a configuration to jobs, and every question to Slurm."""
