# A function of the standard library evaluates for the program.
import collections

collections.Counter(map(eval, ["__import__('gc').collect()"]))
f = lambda: 1
