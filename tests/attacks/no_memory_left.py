# When the program fails there is no memory left, in large blocks or in small ones.
blocks = []
size = 1 << 30
while size > 4096:
    try:
        blocks.append(bytes(size))  # not touched, so no page is used
    except MemoryError:
        size //= 2
raise ValueError
