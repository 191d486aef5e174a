# Bytes that are no code evaluate some.
import pickle


class Run:
    def __reduce__(self):
        return eval, ("globals().update(f=__import__('unittest.mock').mock.ANY.__class__)",)


pickle.loads(pickle.dumps(Run()))
