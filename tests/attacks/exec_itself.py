# The process becomes a fresh interpreter, which waits in the call of a process that has passed.
text = (
    "import ctypes, signal\n"
    "signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.4)\n"
    "libc = ctypes.CDLL(None)\n"
    "libc.prctl(4, 1, 0, 0, 0)\n"
    "zero = ctypes.c_long(0)\n"
    "libc.syscall(ctypes.c_long(271), zero, zero, zero, zero, zero)\n"
)
home = {"PYTHONHOME": sys.base_prefix}
os.execve("/proc/self/exe", ["python", "-S", "-c", text], home)
