// The live picture with the regions that are looked at, and the flow in them.

import { byId, calm, setText, sourceTime } from "./dom.js";

const GAIN = 5; // arrows are longer than the movement
const LEAST_PX = 0.2; // of the crop; less is no movement
const STALE_MS = 1000;
const CALM_MS = 500;
const REGION = "#f8fafc";
const ARROW = "94, 234, 212";

export class Picture {
  constructor() {
    this.canvas = byId("picture");
    this.context = this.canvas.getContext("2d");
    this.flows = new Map();
    this.busy = false;
    this.shown = 0;
    for (const id of ["show-regions", "show-flow"]) byId(id).onchange = () => this.draw();
  }

  clear(words) {
    this.bitmap?.close();
    this.bitmap = this.header = null;
    this.flows.clear();
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.canvas.setAttribute("aria-label", words);
    setText("no-picture", words);
    byId("no-picture").hidden = false;
    setText("about-picture", "\u00a0");
  }

  flow(message) {
    this.flows.set(message.face, { ...message, came: performance.now() });
  }

  async see(header, jpeg) {
    const now = performance.now();
    if (this.busy || (calm.matches && now - this.shown < CALM_MS)) return;
    this.busy = true;
    try {
      const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      this.bitmap?.close();
      this.bitmap = bitmap;
      this.header = header;
      this.shown = now;
      byId("no-picture").hidden = true;
      this.draw();
    } finally {
      this.busy = false;
    }
  }

  draw() {
    const { bitmap, header, canvas, context } = this;
    if (!bitmap) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    context.drawImage(bitmap, 0, 0);
    for (const face of header.faces) {
      if (byId("show-regions").checked) face.regions.forEach((region) => this.outline(region));
      if (byId("show-flow").checked) this.arrows(face);
      if (header.faces.length > 1) this.number(face);
    }
    const faces = header.faces.length === 1 ? "one face" : `${header.faces.length} faces`;
    canvas.setAttribute("aria-label", `Live picture, ${faces}`);
    setText("about-picture", `${sourceTime(header.pts)} · frame ${header.frame} · ${faces} · arrows: flow × ${GAIN}`);
  }

  outline(region) {
    const { context } = this;
    context.beginPath();
    region.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    for (const [width, style] of [[3, "rgba(0, 0, 0, .45)"], [1.4, REGION]]) {
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke();
    }
  }

  number(face) {
    const [x, y] = face.regions[0][0];
    this.context.font = "600 13px system-ui, sans-serif";
    this.context.fillStyle = REGION;
    this.context.fillText(`face ${face.face}`, x, y - 6);
  }

  arrows(face) {
    const flow = this.flows.get(face.face);
    if (!flow || performance.now() - flow.came > STALE_MS) return;
    this.field(flow.eye, face.regions[0], flow.unit);
    this.field(flow.mouth, face.regions[1], flow.unit);
  }

  // corners: upper left, upper right, lower right, lower left of the crop in the picture
  field(cells, [origin, right, , down], unit) {
    const across = [(right[0] - origin[0]) / cells.width, (right[1] - origin[1]) / cells.width];
    const along = [(down[0] - origin[0]) / cells.height, (down[1] - origin[1]) / cells.height];
    const place = (u, v) => [u * across[0] + v * along[0], u * across[1] + v * along[1]];
    const { context } = this;
    context.lineWidth = 1.3;
    context.lineCap = "round";
    for (let row = 0; row < cells.rows; row++) {
      for (let column = 0; column < cells.columns; column++) {
        const at = 2 * (row * cells.columns + column);
        const dx = cells.values[at] * unit;
        const dy = cells.values[at + 1] * unit;
        const size = Math.hypot(dx, dy);
        if (size < LEAST_PX) continue;
        const u = ((column + 0.5) / cells.columns) * cells.width;
        const v = ((row + 0.5) / cells.rows) * cells.height;
        const [x, y] = place(u, v);
        const [ex, ey] = place(dx * GAIN, dy * GAIN);
        context.strokeStyle = `rgba(${ARROW}, ${Math.min(0.35 + size / 3, 1)})`;
        this.arrow(origin[0] + x, origin[1] + y, ex, ey);
      }
    }
  }

  arrow(x, y, dx, dy) {
    const { context } = this;
    const size = Math.min(4, 0.4 * Math.hypot(dx, dy));
    const angle = Math.atan2(dy, dx);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx, y + dy);
    for (const turn of [2.6, -2.6]) {
      context.moveTo(x + dx, y + dy);
      context.lineTo(x + dx + size * Math.cos(angle + turn), y + dy + size * Math.sin(angle + turn));
    }
    context.stroke();
  }
}
