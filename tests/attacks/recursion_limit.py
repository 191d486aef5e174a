# When the program fails, hardly any call is allowed.
def depth():
    frame, count = sys._getframe(1), 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count


class E(Exception):
    def __str__(self):
        sys.setrecursionlimit(depth() + 3)
        return "x"


raise E
