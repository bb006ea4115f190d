// npm install zeromq @msgpack/msgpack && node subscriber.mjs [address]
import { decode } from "@msgpack/msgpack";
import { Subscriber } from "zeromq";

const socket = new Subscriber();
socket.connect(process.argv[2] ?? "tcp://127.0.0.1:5556");
socket.subscribe("event.");
for await (const [topic, body] of socket) {
  const event = decode(body, { useBigInt64: true });
  console.log(event.phase, event.kind, event.aus.map((a) => a.au), event.apex.pts);
}
