// The socket to the server; it comes back by itself.

const FIRST_MS = 500;
const MOST_MS = 8000;

export class Link {
  // hear(message), see(header, jpeg), tell(state): "live" | "reconnecting" | "token"
  constructor(hear, see, tell) {
    this.hear = hear;
    this.see = see;
    this.tell = tell;
    this.wait = FIRST_MS;
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.take(data);
    this.socket.onclose = () => this.again();
  }

  take(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.t === "hello") {
        this.wait = FIRST_MS;
        this.tell("live");
      }
      this.hear(message);
      return;
    }
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    this.see(header, new Uint8Array(data, 4 + length));
  }

  watch(stream) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ watch: stream }));
  }

  async again() {
    this.tell("reconnecting");
    const wait = this.wait * (0.8 + 0.4 * Math.random());
    this.wait = Math.min(2 * this.wait, MOST_MS);
    await new Promise((done) => setTimeout(done, wait));
    try {
      const answer = await fetch("/static/icon.svg", { cache: "no-store" });
      if (answer.status === 401) this.tell("token");
    } catch {
      this.again();
      return;
    }
    this.open();
  }
}
