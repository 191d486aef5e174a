    import posix, signal
    if posix.fork():
        posix.kill(posix.getpid(), signal.SIGSTOP)
    return x + y
