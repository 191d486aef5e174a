    raise ValueError("z" * (200 << 20))
