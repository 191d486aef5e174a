# The number of the error is asked after the failure.
class E(OSError):
    errno = property(stay)


raise E
