# A generator is suspended across the failure, and ended after it.
def both():
    try:
        yield
    finally:
        stay()


waiting = both()
next(waiting)


class E(Exception):
    def __str__(self):
        del globals()["waiting"]


raise E
