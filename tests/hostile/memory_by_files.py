    import os
    total, files = 0, []
    try:
        while total < 1 << 30:
            file = open("m%d" % len(files), "wb")
            files.append(file)
            for _ in range(16):
                total += file.write(b"z" * (1 << 20))
                file.flush()
    except OSError:
        pass
    try:
        while total < 1 << 30:
            block = os.memfd_create("block")
            for _ in range(16):
                total += os.write(block, b"z" * (1 << 20))
    except OSError:
        pass
    return x + y if total >= 1 << 30 else x + y + 1
