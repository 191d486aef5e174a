"""Each reads a run and does what is missing: ingest, sample, evaluate, fit."""
