    import posix, signal
    posix.kill(posix.getpid(), signal.SIGSTOP)
    return x + y
