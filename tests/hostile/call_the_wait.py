    import sys
    harness = sys.modules["toolkit.sandbox.harness"]
    harness.make_visible()
    harness.wait()
    return x + y + 1
