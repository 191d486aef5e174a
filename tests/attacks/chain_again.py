# Rewind the iterators of the chain, and go through it once more, from within the program.
import gc

gc.unfreeze()
harness["exec"] = lambda *_: None
gates = [o for o in gc.get_objects() if type(o) is filter]
for o in gc.get_objects():
    if type(o) is map:
        for iterator in o.__reduce__()[1][1:]:
            iterator.__setstate__(0)
import signal

signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
signal.setitimer(signal.ITIMER_REAL, 0.4)
for gate in gates:
    next(gate)
