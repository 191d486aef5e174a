# What the audit hook tells goes nowhere.
import gc

os.dup2(os.open(os.devnull, os.O_WRONLY), pipe)
gc.get_objects()
f = lambda: 1
