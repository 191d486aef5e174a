# The C stack ends while exceptions are on their way.
sys.setrecursionlimit(10**7)


class E(Exception):
    def __str__(self):
        return repr(nested)


nested = []
for _ in range(10**5):
    nested = [nested]
raise E
