"use strict";
(() => {
  const box = document.getElementById("chart");
  const data = JSON.parse(document.getElementById("data").textContent);
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open])")) {
      one.open = true;
      opened.push(one);
    }
  });
  addEventListener("afterprint", () => {
    for (const one of opened.splice(0)) one.open = false;
  });
  const show = (number) => {
    const card = document.getElementById("e" + number);
    card.scrollIntoView({ block: "start" });
    card.focus({ preventScroll: true });
  };
  if (!box) return;

  const NONE = 65535, LANE = 26, STRIP = 20, AXIS = 24;
  const STEPS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];
  const end = Math.max(data.end, data.step), lanes = data.aus.length;
  const nearest = Math.min(1, end);
  const canvas = box.querySelector("canvas"), choice = box.querySelector("select");
  const readout = document.getElementById("readout"), pen = canvas.getContext("2d");
  const height = STRIP + lanes * LANE + AXIS;
  const curves = {};
  let face = Number(choice.value), from = 0, to = end, chosen = -1, width = 0, left = 0, cursor = -1;

  document.documentElement.classList.add("js");
  box.hidden = false;
  choice.hidden = choice.options.length < 2;

  const unpacked = (which) => {
    if (!curves[which]) {
      const bytes = Uint8Array.from(atob(data.curves[which]), (c) => c.charCodeAt(0));
      const all = new DataView(bytes.buffer), each = bytes.length / 2 / lanes;
      curves[which] = data.aus.map((_, row) =>
        Uint16Array.from({ length: each }, (_, i) => all.getUint16(2 * (row * each + i), true)));
    }
    return curves[which];
  };
  const events = () => data.events.filter((e) => e[1] === face);
  const x = (time) => left + ((time - from) / (to - from)) * (width - left);
  const time = (at) => from + ((at - left) / (width - left)) * (to - from);
  const clock = (s) => {
    const fine = to - from < 4 ? 2 : to - from < 12 ? 1 : 0;
    if (end < 60) return s.toFixed(fine) + " s";
    const whole = Math.floor(s / 60), rest = s - 60 * whole;
    const seconds = rest.toFixed(fine).padStart(fine ? fine + 3 : 2, "0");
    if (whole < 60) return whole + ":" + seconds;
    return Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0") + ":" + seconds;
  };
  const highest = (lane, first, last) => {
    let most = -1;
    const stop = Math.min(Math.floor(last), lane.length - 1);
    for (let i = Math.max(Math.floor(first), 0); i <= stop; i++)
      if (lane[i] !== NONE && lane[i] > most) most = lane[i];
    return most;
  };

  const draw = () => {
    const ratio = devicePixelRatio || 1, style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue("--" + name).trim();
    width = canvas.clientWidth;
    left = width > 700 ? 172 : 52;
    canvas.style.height = height + "px";
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.clearRect(0, 0, width, height);
    const floor = height - AXIS;

    pen.textAlign = "center";
    const step = STEPS.find((s) => (to - from) / s <= Math.max((width - left) / 90, 2)) || end;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      pen.fillStyle = colour("line");
      pen.fillRect(x(t), STRIP, 1, floor - STRIP);
      pen.fillStyle = colour("soft");
      if (x(t) > left + 14 && x(t) < width - 20) pen.fillText(clock(t), x(t), height - AXIS / 2);
    }
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, width - left, floor);
    pen.clip();
    for (const [number, , kind, onset, apex, offset] of events()) {
      if (offset < from || onset > to) continue;
      const begin = x(onset), wide = Math.max(x(offset) - begin, 3);
      pen.fillStyle = colour(kind);
      pen.fillRect(begin, 3, wide, STRIP - 6);
      pen.globalAlpha = number === chosen ? 0.4 : 0.18;
      pen.fillRect(begin, STRIP, wide, floor - STRIP);
      pen.globalAlpha = 1;
      pen.fillStyle = colour("ink");
      pen.fillRect(x(apex), STRIP, 0.7, floor - STRIP);
    }
    pen.fillStyle = colour("blink");
    for (const [whose, onset, offset] of data.blinks)
      if (whose === face && offset >= from && onset <= to)
        pen.fillRect(x(onset), STRIP - 4, Math.max(x(offset) - x(onset), 1.5), 4);
    unpacked(face).forEach((lane, row) => lanePicture(lane, STRIP + (row + 1) * LANE, colour));
    if (cursor >= left) {
      pen.fillStyle = colour("ink");
      pen.fillRect(cursor, 0, 1, floor);
    }
    pen.restore();
    data.aus.forEach(([au, name], row) => {
      const middle = STRIP + (row + 0.62) * LANE;
      pen.textAlign = "left";
      pen.fillStyle = colour("ink");
      pen.fillText(au, 6, middle);
      pen.fillStyle = colour("soft");
      if (left > 60) pen.fillText(name, 52, middle, left - 58);
    });
  };

  const lanePicture = (lane, base, colour) => {
    const tall = LANE - 4, top = data.top * data.parts, theta = data.parts;
    const up = (v) => tall * Math.sqrt(Math.min(v, top) / top);
    pen.fillStyle = colour("line");
    pen.fillRect(left, base, width - left, 0.5);
    for (let at = Math.floor(left); at < width; at++) {
      const first = time(at) / data.step, last = Math.max(time(at + 1) / data.step, first);
      const v = highest(lane, first, last);
      if (v < 0) continue;
      const tip = up(v), level = up(theta);
      pen.fillStyle = colour("curve");
      pen.fillRect(at, base - Math.min(tip, level), 1, Math.min(tip, level));
      if (v > theta) {
        pen.fillStyle = colour("above");
        pen.fillRect(at, base - tip, 1, tip - level);
      }
    }
    pen.fillStyle = colour("theta");
    for (let at = left; at < width; at += 5) pen.fillRect(at, base - up(theta), 2, 0.8);
  };

  let due = false;
  const again = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  };
  const view = (a, b) => {
    const span = Math.min(Math.max(b - a, nearest), end);
    from = Math.min(Math.max(a, 0), end - span);
    to = from + span;
    canvas.dataset.from = from.toFixed(3);
    canvas.dataset.to = to.toFixed(3);
    again();
  };
  const move = (share) => view(from + share * (to - from), to + share * (to - from));
  const zoom = (factor, about = (from + to) / 2) =>
    view(about - (about - from) * factor, about + (to - about) * factor);
  const tell = (words) => { readout.textContent = words; };
  const go = (way) => {
    const own = events();
    if (!own.length) return tell("no event of this face");
    const at = own.findIndex((e) => e[0] === chosen);
    const next = at < 0 ? (way > 0 ? 0 : own.length - 1) : (at + way + own.length) % own.length;
    const [number, , kind, onset, apex, offset, aus] = own[next];
    chosen = number;
    canvas.dataset.event = number;
    const span = Math.min(to - from, Math.max(8, 3 * (offset - onset)));
    view(apex - span / 2, apex + span / 2);
    tell("event " + number + ": " + kind + ", " + aus + ", " + onset.toFixed(2) + " to " +
      offset.toFixed(2) + " s, apex at " + apex.toFixed(2) + " s");
  };
  const acts = {
    left: () => move(-0.25), right: () => move(0.25), in: () => zoom(0.5), out: () => zoom(2),
    all: () => view(0, end), before: () => go(-1), after: () => go(1),
    read: () => chosen >= 0 && show(chosen),
  };
  const keys = {
    ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", 0: "all",
    Home: "all", n: "after", p: "before", Enter: "read",
  };
  canvas.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[act]();
  });
  box.addEventListener("click", (event) => {
    const act = event.target.dataset.do;
    if (act) acts[act]();
  });
  choice.addEventListener("change", () => { face = Number(choice.value); chosen = -1; again(); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return; // the page scrolls
    event.preventDefault();
    zoom(event.deltaY + event.deltaX > 0 ? 1.25 : 0.8, time(event.offsetX));
  }, { passive: false });

  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.offsetX, from, to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    cursor = event.offsetX;
    if (held && Math.abs(event.offsetX - held.x) > 3) {
      held.moved = true;
      const by = ((held.x - event.offsetX) / (width - left)) * (held.to - held.from);
      return view(held.from + by, held.to + by);
    }
    const row = Math.floor((event.offsetY - STRIP) / LANE), now = time(event.offsetX);
    if (event.offsetX >= left && row >= 0 && row < lanes) {
      const v = highest(unpacked(face)[row], now / data.step, now / data.step);
      tell(clock(now) + "  " + data.aus[row].join(" ") + ": " +
        (v < 0 ? "no face" : (v / data.parts).toFixed(2) + " θ"));
    }
    again();
  });
  canvas.addEventListener("pointerup", (event) => {
    const dragged = held && held.moved;
    held = null;
    if (dragged || event.offsetX < left) return;
    const now = time(event.offsetX), slack = (4 / (width - left)) * (to - from);
    const hit = events().find((e) => e[3] - slack <= now && now <= e[5] + slack);
    if (hit) { chosen = hit[0]; again(); show(hit[0]); }
  });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("pointerleave", () => { cursor = -1; again(); });
  addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  view(0, end);
})();
