# Stop the worker, and speak to it, through descriptors of its process.
import signal

for number in (signal.SIGSTOP, signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
    for pid in (1, os.getppid()):
        try:
            signal.pidfd_send_signal(os.pidfd_open(pid), number)
        except OSError:
            pass
