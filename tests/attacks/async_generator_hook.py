# After the failure, an asynchronous generator is ended by a hook of the program.
class Never:
    def __await__(self):
        yield


async def both():
    await Never()
    yield


sys.set_asyncgen_hooks(firstiter=lambda _: None, finalizer=stay)
waiting = both()
step = waiting.__anext__()
step.send(None)


class E(Exception):
    def __str__(self):
        del globals()["step"], globals()["waiting"]


raise E
