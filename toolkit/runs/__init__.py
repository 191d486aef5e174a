"""A run's directory: its plan, its shards, its verdicts, its history."""
