// The list of events, newest first.

import { byId, clock, element, setText, sourceTime } from "./dom.js";

const MOST = 200;
const WORDS = { apex: "announced", final: "final", update: "final", retracted: "withdrawn" };

export class Events {
  // choose(event): the user wants it explained
  constructor(choose) {
    this.choose = choose;
    this.list = byId("list");
    this.rows = new Map(); // key to {event, item}
    this.list.onkeydown = (key) => this.key(key);
  }

  // run: it and the camera's life in it; fresh: the event has just come, and may be spoken
  add(run, event, fresh) {
    const key = `${run} ${event.stream} ${event.id}`;
    const old = this.rows.get(key);
    const item = this.item(event, key);
    item.dataset.shown = Date.now();
    if (old) {
      const focused = old.item.contains(document.activeElement);
      old.item.replaceWith(item);
      if (focused) item.firstChild.focus();
    } else {
      this.list.prepend(item);
    }
    if (fresh && !old) item.classList.add("fresh");
    this.rows.set(key, { event, item, run });
    while (this.rows.size > MOST) {
      const [first, row] = this.rows.entries().next().value;
      row.item.remove();
      this.rows.delete(first);
    }
    if (fresh && event.phase === "final") {
      const aus = event.aus.map((one) => one.au).join(", ");
      setText("said", `${event.kind} expression, action units ${aus}, at ${sourceTime(event.apex.pts)}`);
    }
    this.filter(this.stream);
  }

  item(event, key) {
    const aus = event.aus.map((one) => one.au).join(" + ") || "–";
    const label = event.phase === "final" || event.phase === "update" ? event.emotions[0]?.label || "–" : "–";
    const late = 1000 * event.delays.decision_s + event.delays.processing_ms;
    const kind = event.phase === "retracted" ? "withdrawn" : event.phase === "apex" ? "announced" : event.kind;
    const words = WORDS[event.phase];
    const button = element(
      "button",
      { type: "button", tabIndex: -1, class: kind, onclick: () => this.choose(this.rows.get(key)) },
      element("span", { class: "at" }, sourceTime(event.apex.pts), element("small", {}, clock(event.apex.utc_ns / 1e6))),
      element("span", {}, element("b", { class: `badge ${kind}` }, kind)),
      element("span", { class: "aus" }, `AU ${aus}`),
      element("span", { class: "label" }, label),
      element("span", { class: "late", title: "from the apex to publication" }, `${late.toFixed(0)} ms`),
      element("span", { class: "phase" }, words, event.reason ? element("small", {}, event.reason) : null),
    );
    const data = { key, stream: event.stream, phase: event.phase, id: event.id, published: event.published_utc_ns / 1e6 };
    return element("li", { data }, button);
  }

  filter(stream) {
    this.stream = stream;
    const counts = { micro: 0, macro: 0, retracted: 0 };
    let first = null;
    for (const { event, item } of this.rows.values()) {
      item.hidden = event.stream !== stream;
      if (item.hidden) continue;
      if (event.phase === "retracted") counts.retracted++;
      else if (event.kind in counts) counts[event.kind]++;
    }
    for (const item of this.list.children) {
      if (!item.hidden && !first) first = item;
      if (item.firstChild !== document.activeElement) item.firstChild.tabIndex = -1;
    }
    if (first && !this.list.contains(document.activeElement)) first.firstChild.tabIndex = 0;
    byId("no-events").hidden = first !== null;
    setText("counts", first ? `${counts.micro} micro · ${counts.macro} macro · ${counts.retracted} withdrawn` : "");
  }

  of(stream) {
    return [...this.rows.values()].filter((row) => row.event.stream === stream);
  }

  key(key) {
    const items = [...this.list.children].filter((item) => !item.hidden).map((item) => item.firstChild);
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[key.key];
    if (to === undefined || !items.length) return;
    key.preventDefault();
    const next = items[Math.min(Math.max(to, 0), items.length - 1)];
    items.forEach((one) => (one.tabIndex = one === next ? 0 : -1));
    next.focus();
  }
}
