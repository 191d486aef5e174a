# Rewrite the handler of `_execute` by native code.
import ctypes

ctypes.memmove(handler(), RETURN, 2)
