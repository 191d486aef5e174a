    import itertools
    sum(1 for _ in ())
    return 1 in itertools.repeat(0)
