    import posix
    for _ in range(0 if "done" in globals() else 30):
        if posix.fork() == 0:
            posix._exit(0)
    globals()["done"] = True
    return x + y
