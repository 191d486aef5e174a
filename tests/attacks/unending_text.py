# The program ends within a text that the tests would have to end.
f = lambda: 1
"""
