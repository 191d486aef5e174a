    import os
    null = os.open("/tmp/forged", os.O_RDWR | os.O_CREAT)
    os.write(null, b"P" * 1000)
    for descriptor in range(256):
        if descriptor != null:
            try:
                os.lseek(null, 0, 0)
                os.dup2(null, descriptor)
            except OSError:
                pass
    os._exit(0)
