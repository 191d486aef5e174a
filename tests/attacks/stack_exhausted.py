# The C stack ends while the failure is described.
class E(Exception):
    def __str__(self):
        return str(hash(nested))


nested = ()
for _ in range(3 * 10**5):
    nested = (nested,)
raise E
