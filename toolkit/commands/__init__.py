"""The main of each job: flags to one call. `jobs/*.py` start these."""
