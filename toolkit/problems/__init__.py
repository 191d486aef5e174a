"""What is asked: one file a benchmark, and the loader that picks one."""
