"""Several hosts of a job on one machine."""

import socket


def free_addresses(hosts: tuple[str, ...]) -> str:
    """For TRAIN_HOST_ADDRESSES."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in hosts]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ",".join(f"{host}=127.0.0.1:{port}" for host, port in zip(hosts, ports, strict=True))
