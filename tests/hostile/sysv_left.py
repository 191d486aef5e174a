    import ctypes
    libc = ctypes.CDLL(None)
    libc.semget(4711, 1, 0o1666)
    libc.msgget(4711, 0o1666)
    libc.shmget(4711, 4096, 0o1666)
    return x + y
