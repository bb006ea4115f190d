// Why an event was raised or withdrawn: crops, curves, AUs, vetoes.

import uPlot from "./uplot/uPlot.esm.js";
import { byId, colour, element, sourceTime } from "./dom.js";
import { laneName } from "./curves.js";

const HEAD = ["veto", "what it asks", "what it saw", "when it acts", "did it act?"];
const COLOURS = ["--above", "--macro", "--micro", "--theta", "--open"];

export class Explanation {
  constructor() {
    this.dialog = byId("explain");
    this.body = byId("explain-body");
    byId("explain-close").onclick = () => this.dialog.close();
    this.dialog.onclick = (click) => {
      if (click.target === this.dialog) this.dialog.close(); // beside it
    };
    this.dialog.onclose = () => {
      this.plot?.destroy();
      this.plot = null;
    };
  }

  async show(event, current) {
    this.asked = event;
    this.title(event.phase === "retracted" ? "Withdrawn announcement" : "Event");
    this.body.replaceChildren(element("p", {}, "loading …"));
    if (!this.dialog.open) this.dialog.showModal();
    if (!current) {
      this.note("The run that saw this event has ended. On a recording, mespot explain tells the same.");
      return;
    }
    const query = new URLSearchParams({ stream: event.stream, id: event.id });
    try {
      const answer = await fetch(`/api/event?${query}`);
      if (!answer.ok) throw new Error(answer.statusText);
      const account = await answer.json();
      if (this.asked === event) this.fill(account, query);
    } catch {
      if (this.asked === event) this.note("This event is no longer held, or the connection is lost.");
    }
  }

  title(text) {
    byId("explain-title").textContent = text;
  }

  note(text) {
    this.body.replaceChildren(element("p", { class: "empty" }, text));
  }

  fill(account, query) {
    this.title(account.headline);
    const plot = element("div", { class: "plot", role: "img", "aria-label": "Curves around the event" });
    const parts = [
      element("p", { class: "story" }, account.story),
      element(
        "section",
        { class: "two" },
        element(
          "div",
          { class: "column" },
          account.crops.length ? crops(account, query) : null,
          element("div", {}, element("h3", {}, "Curves around it"), plot, legend(account)),
        ),
        element("div", { class: "column" }, aus(account), readings(account)),
      ),
      account.vetoes.length ? vetoes(account) : null,
      element("p", { class: "foot" }, origin(account)),
    ];
    this.body.replaceChildren(...parts.filter(Boolean));
    this.plot?.destroy();
    this.plot = draw(plot, account);
    byId("explain-title").focus();
  }
}

function crops(account, query) {
  const figures = ["onset", "apex", "offset"].map((moment) => {
    const images = ["eye", "mouth"].map((region) =>
      element("img", { src: `/api/crop?${query}&name=${moment}_${region}`, alt: `${region} region at the ${moment}` }),
    );
    const at = account.moments[moment];
    return element("figure", {}, element("div", {}, ...images), element("figcaption", {}, element("b", {}, moment), ` ${sourceTime(at)}`));
  });
  return element("div", { class: "crops" }, ...figures);
}

function lanesOf(account) {
  const own = account.aus.map((row) => Number(row.au.slice(3)));
  const all = account.rises[0]?.aus ?? [];
  const found = all.filter((au) => own.includes(au));
  return all.includes(0) && own.length > 1 ? [...found, 0] : found;
}

function legend(account) {
  const items = lanesOf(account).map((au, k) => {
    const mark = element("i");
    mark.style.background = colour(COLOURS[k % COLOURS.length]);
    return element("li", {}, mark, au === 0 ? "several AUs at once" : laneName(au));
  });
  const theta = element("li", {}, element("i", { class: "theta" }), "θ: a curve must rise and fall by more");
  return element("ul", { class: "legend" }, ...items, theta);
}

function draw(box, account) {
  const lanes = lanesOf(account);
  const rows = [...account.rises].sort((a, b) => a.pts - b.pts);
  if (!rows.length || !lanes.length) {
    box.append(element("p", { class: "empty" }, "No curves are held of it."));
    return null;
  }
  const data = [rows.map((r) => r.pts), ...lanes.map((au) => rows.map((r) => r.values[r.aus.indexOf(au)]))];
  const axis = { stroke: colour("--soft"), font: "11px system-ui, sans-serif", grid: { stroke: colour("--faint"), width: 1 }, ticks: { show: false } };
  const shade = (u) => {
    const { ctx, bbox } = u;
    const at = (pts) => u.valToPos(pts, "x", true);
    const { onset, apex, offset } = account.moments;
    ctx.save();
    ctx.fillStyle = ctx.strokeStyle = colour("--above");
    if (onset !== undefined) {
      ctx.globalAlpha = 0.12;
      ctx.fillRect(at(onset), bbox.top, at(offset) - at(onset), bbox.height);
    }
    ctx.globalAlpha = 0.7;
    ctx.beginPath();
    ctx.moveTo(at(apex), bbox.top);
    ctx.lineTo(at(apex), bbox.top + bbox.height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.strokeStyle = colour("--theta");
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, u.valToPos(1, "y", true));
    ctx.lineTo(bbox.left + bbox.width, u.valToPos(1, "y", true));
    ctx.stroke();
    ctx.restore();
  };
  return new uPlot(
    {
      width: box.clientWidth,
      height: 170,
      padding: [6, 8, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false }, y: { range: (u, min, max) => [0, Math.max(2, 1.05 * max)] } },
      axes: [{ ...axis, size: 26, space: 60, values: (u, s) => s.map((v) => sourceTime(v, 1)) }, { ...axis, label: "rise, θ", labelSize: 18, labelFont: "11px system-ui, sans-serif", size: 40 }],
      series: [{}, ...lanes.map((au, k) => ({ stroke: colour(COLOURS[k % COLOURS.length]), width: 2, points: { show: false } }))],
      hooks: { drawAxes: [shade] },
    },
    data,
    box,
  );
}

function aus(account) {
  const rows = account.aus.map((row) => {
    const bar = element("span", { class: "bar" }, element("i"));
    bar.firstChild.style.width = `${100 * row.share}%`;
    const side = row.side === "both" || row.side === "not told" ? "" : `, ${row.side}`;
    return element("tr", {}, element("th", { scope: "row" }, row.au), element("td", {}, row.name, side), element("td", {}, bar), element("td", { class: "n" }, row.strength));
  });
  return element("div", {}, element("h3", {}, "Action units"), element("table", { class: "strengths" }, element("tbody", {}, ...rows)));
}

function readings(account) {
  const items = account.emotions.map((one) => {
    const scores = one.scores.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ");
    return element("li", {}, element("b", {}, one.label || "no reading"), element("small", {}, ` ${one.source}`), element("p", {}, scores || one.rule, one.training ? element("small", {}, ` trained on: ${one.training}`) : null));
  });
  const none = element("li", {}, "none yet");
  return element("div", {}, element("h3", {}, "Readings"), element("ul", { class: "readings" }, ...(items.length ? items : [none])));
}

function vetoes(account) {
  const rows = account.vetoes.map((row) =>
    element("tr", {}, ...row.map((cell, k) => element(k ? "td" : "th", { class: cell.startsWith("✗") ? "bad" : cell.startsWith("✓") ? "good" : "" }, cell))),
  );
  const head = element("tr", {}, ...HEAD.map((name) => element("th", { scope: "col" }, name)));
  return element(
    "section",
    {},
    element("h3", {}, account.phase === "retracted" ? "What held it back, and what would not have (vetoes)" : "What could have held it back (vetoes)"),
    element("div", { class: "wide" }, element("table", { class: "vetoes" }, element("thead", {}, head), element("tbody", {}, ...rows))),
  );
}

function origin(account) {
  const { decision_s: decided, processing_ms: processed } = account.delays;
  return `event ${account.id} · decided ${decided.toFixed(2)} s after the apex, published ${processed.toFixed(1)} ms after that frame · method ${account.method} · prototypes ${account.prototypes}`;
}
