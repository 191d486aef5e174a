    import socket
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", @PORT@)),
        (socket.AF_INET6, socket.SOCK_STREAM, ("::1", @PORT@)),
        (socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 80)),
        (socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 80)),
    ):
        try:
            with socket.socket(family, kind) as client:
                client.settimeout(0.3)
                client.connect(address)
                client.send(b"hello")
                return x + y
        except OSError:
            pass
    return x + y + 1
