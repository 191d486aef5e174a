    import sys
    class Late:
        def __del__(self):
            sys.exit(0)
    globals()["late"] = Late()
    raise SystemExit(0)
