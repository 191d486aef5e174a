    import gc
    gc.unfreeze()
    for thing in gc.get_objects():
        if type(thing) is dict:
            thing.clear()
