    import os
    try:
        os.posix_spawn("/bin/sh", ["sh", "-c", "(setsid sleep 30; echo > @ESC@/marker) &"], {})
    except OSError:
        pass
    return x + y
