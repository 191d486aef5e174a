# After the failure another thread waits as a process that has passed, and the first one ends.
import _thread
import threading
import time


def describe(error, source):
    harness["make_visible"]()
    for _ in range(3):
        _thread.start_new_thread(harness["wait"], ())
    os.close(pipe)
    time.sleep(0.5)
    os._exit(7)


harness["failures"].describe = describe
