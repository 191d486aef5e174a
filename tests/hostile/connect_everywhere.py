    import socket
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", @PORT@)),
        (socket.AF_INET6, ("::1", @PORT@)),
        (socket.AF_INET, ("192.0.2.1", 80)),
    ):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind) as client:
                    client.settimeout(0.3)
                    client.connect(address)
                    client.send(b"hello")
                    return x + y
            except OSError:
                pass
    return x + y + 1
