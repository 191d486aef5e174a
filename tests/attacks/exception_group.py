# An exception within exceptions, whose texts are made after the failure.
class E(ExceptionGroup):
    def derive(self, exceptions):
        stay()

    __str__ = lambda self: str(self.split(ValueError))


inner = ValueError()
for _ in range(100):
    inner = E("x", [inner, KeyError()])
raise inner
