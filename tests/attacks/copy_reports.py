# A copy of the process reports a pass, and closes the pipe, while the process itself fails.
import posix

if posix.fork() == 0:
    os.write(pipe, harness["PASSED"])
    os._exit(0)
os.waitpid(-1, 0)
os.close(pipe)
