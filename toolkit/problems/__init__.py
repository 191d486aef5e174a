"""What is asked: one file for each benchmark, and the loader that picks one."""
