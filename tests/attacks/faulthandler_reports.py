# The fault handler writes to the pipe of the report, on a stack of its own, and ends the process.
import faulthandler
import signal
import time

faulthandler.enable(file=pipe)
faulthandler.register(signal.SIGALRM, file=pipe, all_threads=True, chain=False)
faulthandler.dump_traceback_later(0.2, exit=True, file=pipe)
time.sleep(1)
