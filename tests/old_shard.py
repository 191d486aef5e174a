"""The metadata of a shard as an older version wrote it."""

OF_0_1_0 = {
    "ARROW:schema": "/////8QBAAAEAAAA8v///xQAAAAEAAEAAAAKAAsACAAKAAQA",
    "content": "aa0cdaa051e9898d2ec26d09ccecf2ed",
    "device": "none",
    "ended": "1795654997.305",
    "engine": "synthetic",
    "engine_restarts": "0",
    "feed": "[[1795654997.3, 0, 0, false, null, null]]",
    "host": "vm",
    "max_num_seqs": "256",
    "process": "3145",
    "prompt_tokens": "885",
    "run": "bf1ceb814e13449a5ebf1cf490f109c441fdb8170b87a8439cf91886123d4ef2",
    "shard": "a971985792527a92",
    "slice": "r000-s0000",
    "slurm_job": "",
    "slurm_restarts": "0",
    "slurm_task": "",
    "staging_seconds": "0.0",
    "started": "1795654997.305",
    "startup_seconds": "0.6",
    "tokens": "423",
    "toolkit": "0.1.0",
}
"""Of a shard that 0.1.0 wrote, with the synthetic backend and without Slurm."""
