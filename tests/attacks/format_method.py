# The exception formats itself.
class E(AssertionError):
    __format__ = stay


raise E
