    import sys
    line = "z" * (1 << 20)
    for _ in range(512):
        sys.stdout.write(line)
    return x + y
