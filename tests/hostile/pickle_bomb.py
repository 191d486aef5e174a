    import pickle
    return repr(pickle.loads(b"(" * 2000000 + b"t" * 2000000 + b"."))
