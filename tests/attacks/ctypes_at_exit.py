# The C library calls back, after the failure and less deep.
import ctypes

callback = ctypes.CFUNCTYPE(None)(stay)
ctypes.pythonapi.Py_IncRef(ctypes.py_object(callback))
ctypes.CDLL(None).__cxa_atexit(callback, None, None)
