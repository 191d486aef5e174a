# The name of the exception's type is asked after the failure.
class Meta(type):
    __name__ = property(stay)


class E(Exception, metaclass=Meta):
    pass


raise E
