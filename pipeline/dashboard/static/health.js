// How the run is doing: stages, drops, notes.

import { byId, clock, element, setText } from "./dom.js";

const pair = (found) => (found ? `${found[0].toFixed(1)} / ${found[1].toFixed(1)}` : "–");

export function showHealth(health) {
  setText("fps", health.fps.toFixed(1));
  const spot = health.nodes.find((node) => node.name === "spot");
  setText("age", spot?.age ? spot.age[0].toFixed(0) : "–");
  setText("faces-seen", String(health.faces.length));
  const dropped = Object.values(health.dropped).reduce((sum, count) => sum + count, 0);
  setText("dropped", String(dropped));
  byId("dropped").className = dropped ? "warn" : "";
  const longest = Math.max(1, ...health.nodes.map((node) => node.age?.[1] ?? 0));
  byId("nodes").replaceChildren(...health.nodes.map((node) => row(node, longest)));
  const drops = Object.entries(health.dropped).map(([why, count]) => element("li", {}, element("b", {}, String(count)), ` ${why}`));
  byId("drops").replaceChildren(...drops);
  const lines = [...health.lines].reverse();
  byId("lines").replaceChildren(...lines.map(([ms, text]) => element("li", {}, element("small", {}, clock(ms)), ` ${text}`)));
}

function row(node, longest) {
  const again = node.restarts ? ` (${node.restarts} restart${node.restarts > 1 ? "s" : ""})` : "";
  const bar = element("span", { class: "bar" }, element("i"), element("i"));
  if (node.age) node.age.forEach((value, i) => (bar.children[1 - i].style.width = `${(100 * value) / longest}%`));
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, node.name),
    element("td", {}, element("span", { class: `dot ${node.state}` }), `${node.state}${again}`),
    element("td", { class: "n" }, pair(node.work)),
    element("td", { class: "n" }, bar, pair(node.age)),
  );
}
