    for path in ("@ESC@/secret.txt", "/etc/shadow", "/proc/1/environ", "/proc/self/../1/environ", "/proc/1/root@ESC@/secret.txt", "/proc/1/cwd/../secret.txt"):
        try:
            if open(path, "rb").read():
                return x + y
        except OSError:
            pass
    return x + y + 1
