# The C profiler asks a clock of the program at every call and return.
import cProfile

calls = 0


def clock():
    if failed:
        stay()
    return 0


failed = []
profile = cProfile.Profile(timer=clock)
profile.enable()


class E(Exception):
    def __str__(self):
        failed.append(1)
        return "x"


raise E
