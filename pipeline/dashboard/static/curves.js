// A lane for each AU, scrolling in source time: how far its curve has risen, in theta.

import uPlot from "./uplot/uPlot.esm.js";
import { byId, calm, colour, sourceTime } from "./dom.js";

const SPAN_S = 20;
const KEPT_S = 25;
const GAP_S = 0.5;
const LANE_PX = 21;
const FULL = 0.86; // of a lane's height
const LEAST_TOP = 4; // theta
const EVERY_MS = 66;
const CALM_MS = 1000;

export const laneName = (au) => (au === 0 ? "several" : `AU ${au}`);

export class Curves {
  constructor(names) {
    this.names = names; // AU number to words
    this.box = byId("plot");
    this.paused = false;
    this.drawn = 0;
    this.clear();
    new ResizeObserver(() => this.resize()).observe(this.box);
    const frame = (now) => {
      if (this.dirty && !this.paused && now - this.drawn > (calm.matches ? CALM_MS : EVERY_MS)) {
        this.drawn = now;
        this.draw();
      }
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  clear() {
    this.rows = []; // {pts, values}
    this.aus = [];
    this.events = new Map();
    this.blinks = [];
    this.top = LEAST_TOP;
    this.dirty = false;
    this.plot?.destroy();
    this.plot = null;
    this.box.setAttribute("aria-label", "No curves yet");
  }

  add(rises) {
    for (const one of rises) {
      if (one.aus.join() !== this.aus.join()) {
        this.aus = one.aus;
        this.rows = [];
        this.plot?.destroy();
        this.plot = null;
      }
      const last = this.rows.at(-1);
      if (last && one.pts < last.pts - 1) this.rows = []; // the source began anew
      else if (last && one.pts <= last.pts) continue;
      this.rows.push(one);
    }
    const newest = this.rows.at(-1);
    while (newest && this.rows[0].pts < newest.pts - KEPT_S) this.rows.shift();
    this.dirty = this.dirty || rises.length > 0;
  }

  event(event) {
    this.events.set(event.id, event);
    const since = (this.rows.at(-1)?.pts ?? 0) - 2 * KEPT_S;
    for (const [id, old] of this.events) if (old.apex.pts < since) this.events.delete(id);
    this.dirty = this.rows.length > 0;
  }

  blink(blink) {
    this.blinks.push(blink);
    if (this.blinks.length > 100) this.blinks.shift();
  }

  // ------------------------------------------------------------ drawing

  height(value) {
    return FULL * Math.sqrt(Math.min(value, this.top) / this.top);
  }

  table() {
    const until = this.rows.at(-1).pts;
    const seen = this.rows.filter((row) => row.pts >= until - SPAN_S - 1);
    const highest = Math.max(LEAST_TOP, ...seen.map((row) => Math.max(...row.values)));
    // it shrinks slowly, so that lanes do not jump when a peak leaves
    this.top = Math.max(highest, this.top * 0.98);
    const times = [];
    const lanes = this.aus.map(() => []);
    let last = null;
    for (const row of seen) {
      if (last !== null && row.pts - last > GAP_S) {
        times.push((last + row.pts) / 2);
        lanes.forEach((lane) => lane.push(null));
      }
      times.push(row.pts);
      lanes.forEach((lane, k) => lane.push(this.base(k) + this.height(row.values[k])));
      last = row.pts;
    }
    return [times, ...lanes];
  }

  base(lane) {
    return this.aus.length - 1 - lane;
  }

  draw() {
    if (!this.rows.length) return;
    this.dirty = false;
    const data = this.table();
    const until = this.rows.at(-1).pts;
    if (!this.plot) this.make(data);
    this.plot.setData(data, false);
    this.plot.batch(() => {
      this.plot.setScale("x", { min: until - SPAN_S, max: until });
      this.plot.setScale("y", { min: 0, max: this.aus.length });
    });
    const high = this.aus.filter((_, k) => this.rows.at(-1).values[k] > 1).map(laneName);
    this.box.setAttribute(
      "aria-label",
      `Curves of ${this.aus.length} lanes up to ${sourceTime(until)}; above theta now: ${high.join(", ") || "none"}`,
    );
    this.box.dataset.until = until;
  }

  resize() {
    if (this.plot) this.plot.setSize({ width: this.box.clientWidth, height: this.plot.height });
  }

  restyle() {
    this.plot?.destroy();
    this.plot = null;
    if (this.rows.length) this.draw();
  }

  make(data) {
    const ink = colour("--ink");
    const soft = colour("--soft");
    const series = this.aus.map((au, k) => ({
      label: laneName(au),
      stroke: colour("--curve-line"),
      width: 1,
      fill: (u) => this.gradient(u, k),
      fillTo: () => this.base(k),
      points: { show: false },
    }));
    const height = this.aus.length * LANE_PX + 34;
    this.plot = new uPlot(
      {
        width: this.box.clientWidth,
        height,
        legend: { show: false },
        cursor: { show: false },
        padding: [4, 6, 0, 0],
        scales: { x: { time: false, auto: false }, y: { auto: false } },
        axes: [
          {
            stroke: soft,
            font: "11px system-ui, sans-serif",
            grid: { stroke: colour("--faint"), width: 1 },
            ticks: { show: false },
            size: 26,
            space: 60,
            incrs: [1, 2, 5, 10, 20],
            values: (u, splits) => splits.map((s) => (s < 0 ? "" : sourceTime(s, 0))),
          },
          {
            stroke: ink,
            font: "11px system-ui, sans-serif",
            grid: { show: false },
            ticks: { show: false },
            size: 56,
            gap: 4,
            splits: () => this.aus.map((_, k) => this.base(k) + 0.36),
            values: () => this.aus.map(laneName),
          },
        ],
        series: [{}, ...series],
        hooks: { drawAxes: [(u) => this.under(u)], draw: [(u) => this.over(u)] },
      },
      data,
      this.box,
    );
  }

  gradient(u, lane) {
    const low = u.valToPos(this.base(lane), "y", true);
    const high = u.valToPos(this.base(lane) + FULL, "y", true);
    const made = u.ctx.createLinearGradient(0, low, 0, high);
    const theta = this.height(1) / FULL;
    made.addColorStop(0, colour("--curve"));
    made.addColorStop(theta, colour("--curve"));
    made.addColorStop(theta, colour("--above"));
    made.addColorStop(1, colour("--above"));
    return made;
  }

  x(u, pts) {
    const { left, width } = u.bbox;
    return Math.min(Math.max(u.valToPos(pts, "x", true), left), left + width);
  }

  under(u) {
    const { ctx, bbox } = u;
    const until = this.rows.at(-1).pts;
    ctx.save();
    ctx.strokeStyle = colour("--faint");
    for (let k = 0; k < this.aus.length; k++) {
      const y = Math.round(u.valToPos(this.base(k), "y", true)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    for (const event of this.events.values()) {
      if (event.phase === "retracted") continue;
      const open = event.phase === "apex";
      const from = this.x(u, open ? event.apex.pts : event.onset.pts);
      const to = this.x(u, open ? until : event.offset.pts);
      ctx.fillStyle = colour(open ? "--open" : event.kind === "micro" ? "--micro" : "--macro");
      ctx.globalAlpha = 0.1;
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
      ctx.globalAlpha = 0.3;
      for (const { au } of event.aus) {
        const lane = this.aus.indexOf(au);
        if (lane < 0) continue;
        const y = u.valToPos(this.base(lane) + 1, "y", true);
        ctx.fillRect(from, y, to - from, u.valToPos(this.base(lane), "y", true) - y);
      }
    }
    ctx.restore();
  }

  over(u) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.lineWidth = ratio;
    ctx.strokeStyle = colour("--theta");
    ctx.globalAlpha = 0.55;
    ctx.setLineDash([2 * ratio, 4 * ratio]);
    ctx.beginPath();
    for (let k = 0; k < this.aus.length; k++) {
      const y = u.valToPos(this.base(k) + this.height(1), "y", true);
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
    }
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    for (const event of this.events.values()) {
      const x = u.valToPos(event.apex.pts, "x", true);
      if (x < bbox.left || event.phase === "retracted") continue;
      ctx.strokeStyle = colour(event.phase === "apex" ? "--open" : event.kind === "micro" ? "--micro" : "--macro");
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.fillStyle = colour("--blink");
    for (const blink of this.blinks) {
      const from = this.x(u, blink.onset.pts);
      const to = this.x(u, blink.offset.pts);
      if (to > from) ctx.fillRect(from, bbox.top + bbox.height - 4 * ratio, Math.max(to - from, 2), 4 * ratio);
    }
    ctx.restore();
  }
}
