    import os
    os.mkfifo("fifo")
    open("fifo").read()
    return x + y
