    import time
    time.sleep(1000)
    return x + y
