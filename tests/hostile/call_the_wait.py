    import sys
    harness = sys.modules["toolkit.harness"]
    harness.make_visible()
    harness.wait()
    return x + y + 1
