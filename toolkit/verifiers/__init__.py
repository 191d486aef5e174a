"""How an answer is judged: what is asked, what is taken from an answer, what decides it."""
