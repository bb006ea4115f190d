"""A client in a process of its own, plain pyzmq and nothing of mespot's: ``KIND ADDRESS [KEYS]``.

KIND is ``sub`` or ``push``. KEYS is ``plain`` or ``PUBLIC SECRET SERVER`` (Z85). A subscriber
prints each message that it gets with the monotonic time; a pusher pushes garbage.
"""

from __future__ import annotations

import sys
import time

import zmq


def main(kind: str, address: str, *keys: str) -> None:
    socket = zmq.Context().socket(zmq.SUB if kind == "sub" else zmq.PUSH)
    socket.setsockopt(zmq.IPV6, "[" in address)
    if keys == ("plain",):
        socket.setsockopt(zmq.PLAIN_USERNAME, b"admin")
        socket.setsockopt(zmq.PLAIN_PASSWORD, b"admin")
    elif keys:
        public, secret, server = (key.encode() for key in keys)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    if kind == "sub":
        socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(address)
    print("ready", flush=True)
    while True:
        if kind == "sub":
            print(time.monotonic(), socket.recv_multipart()[-1].decode(), flush=True)
        else:
            socket.send_multipart([b"garbage", b"x" * 1000])
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
