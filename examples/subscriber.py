"""Ten lines: plain pyzmq and msgpack, no mespot."""

import msgpack
import zmq

socket = zmq.Context().socket(zmq.SUB)
socket.connect("tcp://127.0.0.1:5556")
socket.subscribe(b"event.")
while True:
    topic, body = socket.recv_multipart()
    event = msgpack.unpackb(body)
    print(event["phase"], event["kind"], [a["au"] for a in event["aus"]], event["apex"]["pts"])
