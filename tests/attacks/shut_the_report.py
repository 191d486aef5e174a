# Nothing can be told any more.
import gc
import socket

socket.socket(fileno=os.dup(pipe)).shutdown(socket.SHUT_WR)
try:
    gc.get_objects()
except OSError:
    gc.get_objects()
f = lambda: 1
