# The text of the failure is a string that encodes itself, into bytes that add themselves.
class Bytes(bytes):
    __radd__ = stay


class Text(str):
    def removesuffix(self, _):
        return self

    def encode(self, *_):
        return self

    def __getitem__(self, _):
        return Bytes(b"x")


harness["failures"].describe = lambda *_: ("exception", Text("x"))
