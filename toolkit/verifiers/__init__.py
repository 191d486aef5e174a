"""How an answer is asked for, taken from a completion, and judged: one file for each kind."""
