# Change the limits of the worker, and those of the process.
del sys.modules["resource"]
import resource

for pid in (0, 1, os.getppid()):
    for limit in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_STACK):
        try:
            resource.prlimit(pid, limit, (5, 5))
        except (OSError, ValueError):
            pass
