"""Inference scaling on Slurm: sample with vLLM, execute the tests, fit how fail@k falls with k."""

__version__ = "0.1.0"
