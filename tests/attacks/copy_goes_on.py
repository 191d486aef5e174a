# A copy of the process goes on to the place of the wait, and the process itself waits for it.
import posix
import time

if posix.fork():
    time.sleep(0.5)
    os._exit(7)
f = lambda: 1
