    import sys
    frame = sys._getframe()
    while frame and "make_visible" not in frame.f_globals:
        frame = frame.f_back
    if not frame:
        return x + y  # renamed: it would try nothing, so let it pass and be noticed
    make_visible, wait = frame.f_globals["make_visible"], frame.f_globals["wait"]
    make_visible()
    wait()
    return x + y + 1
