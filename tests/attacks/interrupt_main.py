# Another thread interrupts the first one all the time, and after the failure too.
import _thread
import signal
import threading
import time

failed = threading.Event()
signal.signal(signal.SIGINT, lambda *_: None)


def storm():
    while True:
        time.sleep(1e-4)
        if failed.is_set():
            signal.raise_signal(signal.SIGUSR1)
        _thread.interrupt_main()


def interrupted(*_):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    stay()


def describe(error, source):
    signal.signal(signal.SIGUSR1, interrupted)
    failed.set()
    time.sleep(0.3)
    return "exception", "x" * 1000


threading.Thread(target=storm, daemon=True).start()
harness["failures"].describe = describe
