    raise ValueError("\udcff\0\r\n\x1b[2J\u2028" * 100)
