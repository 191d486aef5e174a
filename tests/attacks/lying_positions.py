# The positions of the code that failed are no lines.
class Trace:
    tb_lineno = tb_lasti = 0
    tb_next = None
    co_filename = "<string>"
    tb_frame = f_code = property(lambda self: self)

    def co_positions(self):
        return [(10**30, -(10**30), None, self)]


class E(AssertionError):
    __traceback__ = Trace()


raise E("the lines were taken")
