# Another thread replaces the tests between their definition and their call.
import threading

names = globals()


def storm():
    while True:
        if "check" in names:
            names["check"] = len


sys.setswitchinterval(1e-6)
threading.Thread(target=storm, daemon=True).start()
f = lambda: __import__("time").sleep(0.05)
