# The same from another thread, while the first one is in the function that describes the failure.
import threading
import time

done = threading.Event()
failed = threading.Event()


def jump(frame, event, arg):
    execute.f_trace = jump
    harness["exec"] = lambda *_: None
    for line in range(execute.f_code.co_firstlineno - 2, execute.f_code.co_firstlineno + 9):
        try:
            execute.f_lineno = line
        except ValueError:
            continue
        break


def work():
    failed.wait()
    sys._getframe().f_trace = jump
    sys.settrace(lambda frame, event, arg: jump)
    step()
    sys.settrace(None)
    done.set()


def step():
    return 1


def describe(error, source):
    failed.set()
    done.wait(0.4)
    return "exception", f"no jump, the thread tried: {done.is_set()}"


harness["failures"].describe = describe
threading.Thread(target=work, daemon=True).start()
