# Another thread calls exit(3), and so goes through the handlers that the C library has left.
import threading
import time

thread = threading.Thread(
    target=harness["linux"].call_and_exit, args=(lambda: time.sleep(0.2),), daemon=True
)
thread.start()
time.sleep(0.6)
