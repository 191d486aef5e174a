# A jump in the frame of `_execute` before the failure, while it waits for `exec`.
def jump(frame, event, arg):
    execute.f_trace = jump
    if event == "line":
        for line in (execute.f_code.co_firstlineno, execute.f_lineno):
            try:
                execute.f_lineno = line
            except ValueError:
                pass
    return jump


def inner():
    x = 1
    return x


sys.settrace(jump)
sys.call_tracing(inner, ())
sys.settrace(None)
