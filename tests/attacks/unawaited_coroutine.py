# After the failure, the interpreter warns of a coroutine by a function of the program.
import warnings

warnings._warn_unawaited_coroutine = stay


async def both():
    pass


waiting = both()


class E(Exception):
    def __str__(self):
        del globals()["waiting"]


raise E
