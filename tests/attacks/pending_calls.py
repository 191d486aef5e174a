# A call is pending for the first thread when it fails.
try:
    import _testcapi as pending
except ImportError:
    pending = None


def describe(error, source):
    if pending:
        pending._pending_threadfunc(stay)
    else:
        stay()
    return "exception", "x"


harness["failures"].describe = describe
