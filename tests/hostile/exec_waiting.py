    import os
    os.execv("/bin/sleep", ["sleep", "20"])
