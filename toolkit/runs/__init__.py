"""The directory of a run: its plan, its shards, its verdicts, its history."""
