// Wires the page together.

import { byId, element, setText } from "./dom.js";
import { Curves } from "./curves.js";
import { Events } from "./events.js";
import { Explanation } from "./explain.js";
import { showHealth } from "./health.js";
import { Link } from "./link.js";
import { Picture } from "./picture.js";
import { nextTheme, onTheme, startTheme } from "./theme.js";

const GONE_S = 3;
const state = { faces: new Map(), run: "", stream: "", face: null, images: true, paused: false, cameras: new Map(), health: {} };
const names = {};

startTheme();
const picture = new Picture();
const curves = new Curves(names);
const explanation = new Explanation();
const events = new Events(({ event, run }) => explanation.show(event, run === lifeOf(event.stream)));
onTheme(() => curves.restyle());

// ids and source time start anew with each life of a camera's graph
function lifeOf(stream, life = state.cameras.get(stream)?.life) {
  return `${state.run} ${life}`;
}

const hearers = {
  hello(message) {
    state.run = message.run;
    state.images = message.images;
    state.cameras = new Map(message.cameras.map((camera) => [camera.name, camera]));
    Object.assign(names, message.names);
    setText("version", `mespot ${message.version}.`);
    for (const event of message.events) events.add(lifeOf(event.stream), event, false);
    showCameras();
    watch(state.cameras.has(state.stream) ? state.stream : ([...state.cameras.keys()].sort()[0] ?? ""));
  },
  camera({ camera }) {
    const again = state.cameras.get(camera.name)?.life !== camera.life;
    state.cameras.set(camera.name, camera);
    showCameras();
    if (!state.stream || (again && camera.name === state.stream)) watch(camera.name);
    else if (camera.name === state.stream) showAbout();
  },
  health({ cameras }) {
    state.health = cameras;
    const unknown = Object.keys(cameras).filter((name) => !state.cameras.has(name));
    for (const name of unknown) state.cameras.set(name, { name });
    if (unknown.length) showCameras();
    if (!state.stream && state.cameras.size) watch([...state.cameras.keys()][0]);
    showState();
  },
  event({ event, life }) {
    events.add(lifeOf(event.stream, life), event, true);
    if (event.stream === state.stream && event.face === state.face) curves.event(event);
  },
  blink({ s, blink }) {
    if (s === state.stream && blink.face === state.face) curves.blink(blink);
  },
  rises(message) {
    if (message.s !== state.stream) return;
    if (message.anew) {
      state.faces = new Map();
      seeFaces(message.rises);
      showFace(state.faces.has(state.face) ? state.face : present(), message);
      return;
    }
    seeFaces(message.rises);
    const next = present();
    if (state.face !== null && state.faces.has(state.face)) curves.add(message.rises.filter((one) => one.face === state.face));
    else if (next !== null) chooseFace(next);
  },
  flow(message) {
    if (message.s === state.stream && !state.paused) picture.flow(message);
  },
  state() {},
};

function see(header, jpeg) {
  if (header.s === state.stream && !state.paused) picture.see(header, jpeg);
}

function tell(how) {
  const words = { live: "live", reconnecting: "reconnecting …", token: "the token is not accepted: open the address with ?token=" };
  setText("link", words[how]);
  byId("link").className = `link ${how}`;
  document.body.classList.toggle("stale", how !== "live");
}

const link = new Link((message) => hearers[message.t]?.(message), see, tell);

function watch(stream) {
  state.stream = stream;
  state.face = null;
  byId("camera").value = stream;
  curves.clear();
  picture.clear(state.images ? "waiting for a picture" : "Pictures are off (dashboard.images).");
  events.filter(stream);
  showAbout();
  showState();
  if (stream) link.watch(stream);
}

// the curves of the last seconds come again, and with them all that is known of the face
function chooseFace(face) {
  state.face = face;
  link.watch(state.stream);
}

function showFace(face, { rises, blinks }) {
  state.face = face;
  byId("face").value = String(face);
  curves.clear();
  const own = (list) => list.filter((one) => one.face === face);
  curves.add(own(rises));
  own(blinks).forEach((blink) => curves.blink(blink));
  own(events.of(state.stream).filter((row) => row.run === lifeOf(state.stream)).map((row) => row.event)).forEach((event) => curves.event(event));
}

// the face seen last, of those that are there the first
function present() {
  const newest = Math.max(...state.faces.values());
  return [...state.faces].find(([, pts]) => pts > newest - 1)?.[0] ?? null;
}

// a face that is gone for longer is no choice any more
function seeFaces(rises) {
  const before = [...state.faces.keys()].join();
  for (const one of rises) state.faces.set(one.face, one.pts);
  const newest = rises.at(-1)?.pts ?? 0;
  for (const [face, pts] of state.faces) if (pts < newest - GONE_S) state.faces.delete(face);
  if ([...state.faces.keys()].join() === before) return;
  byId("face").replaceChildren(...[...state.faces.keys()].map((face) => element("option", { value: String(face) }, String(face))));
  byId("face").value = String(state.face);
  byId("faces").hidden = state.faces.size < 2;
}

function showCameras() {
  const found = [...state.cameras.keys()].sort();
  byId("camera").replaceChildren(...found.map((name) => element("option", { value: name }, name)));
  byId("camera").value = state.stream;
}

function showAbout() {
  const camera = state.cameras.get(state.stream);
  setText("theta", camera?.theta ?? "θ");
  setText("search", String(camera?.search_s ?? 1));
  byId("made").hidden = !camera?.synthetic;
}

function showState() {
  const health = state.health[state.stream];
  if (!health) return;
  const seen = health.phase === "watching" && !health.faces.length ? "no face" : health.phase;
  setText("phase", seen);
  byId("phase").className = `pill ${seen.replace(" ", "-")}`;
  byId("phase").title = health.detail;
  const alarms = [
    health.phase === "camera lost" ? `The camera is lost: ${health.detail}` : "",
    health.overloaded ? `Too slow: ${health.overloaded}` : "",
    health.log ? `The event log cannot be written: ${health.log}` : "",
  ].filter(Boolean);
  byId("banner").hidden = !alarms.length;
  setText("banner", alarms.join(" · "));
  showHealth(health);
}

function pause() {
  state.paused = curves.paused = !state.paused;
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  setText("pause", state.paused ? "Go on" : "Pause");
}

byId("camera").onchange = () => watch(byId("camera").value);
byId("face").onchange = () => chooseFace(Number(byId("face").value));
byId("pause").onclick = pause;
document.addEventListener("keydown", (key) => {
  if (key.ctrlKey || key.metaKey || key.altKey || /^(SELECT|INPUT)$/.test(key.target.tagName)) return;
  if (key.key === "p") pause();
  if (key.key === "t") nextTheme();
  if (key.key.startsWith("Arrow") && key.target === document.body) events.key(key);
});
