# The C handler of signals writes to the pipe of the report.
import signal

os.set_blocking(pipe, False)
signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
for number in (signal.SIGALRM, signal.SIGIO, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
    signal.raise_signal(number)
