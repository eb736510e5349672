"use strict";

const SVG = "http://www.w3.org/2000/svg";
/// How often the node is asked, and for how long it may be silent.
const EVERY_MS = 1000, PATIENCE_MS = 3000;
const HOUR_MS = 3600e3;
/// How many changes are listed.
const LISTED = 12;
const ROLES = { pre_candidate: "pre-candidate" };

/// The page may be under a path of its own, with or without a slash at its end.
const base = location.pathname.replace(/\/*$/, "/");
const byId = id => document.getElementById(id);

async function ask(path) {
  const response = await fetch(base + path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

/// An element; a text is only ever text, whatever a node calls itself.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  return fill(element, attributes, children);
}

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  return fill(element, attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function inWords(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

const shortened = id => id.length > 14 ? id.slice(0, 13) + "…" : id;

/// A colour for each leader, always the same; those of similar names are far apart.
function colourOf(id) {
  let hash = 0;
  for (const letter of id) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return `hsl(${hash * 137 % 360} 55% 50%)`;
}

/// All nodes that are known. Of itself a node knows more than it says.
function nodesOf(status) {
  const own = {
    id: status.id, role: status.state, term: status.term, is_own: true,
    silent_for_seconds: 0, is_silent: false, priority: null, is_paused: status.is_paused,
  };
  const said = status.seen.nodes.find(node => node.id === own.id);
  const others = status.seen.nodes.filter(node => node.id !== own.id);
  const priority = said ? said.priority : null;
  const acknowledged_in_seconds = said ? said.acknowledged_in_seconds : null;
  return [{ ...own, priority, acknowledged_in_seconds }, ...others]
    .map(node => ({ ...node, leads: node.id === status.leader }))
    .sort((a, b) => a.id < b.id ? -1 : 1);
}

function roleOf(node) {
  if (node.is_silent) return "unheard";
  if (node.leads) return "leader";
  // It leads no longer, as far as this node knows.
  return node.role === "leader" && !node.is_own ? "unknown" : node.role;
}

function drawNodes(nodes, unknown) {
  const all = [...nodes, ...Array(unknown).fill(null)];
  const places = all.map((_, index) => {
    const angle = Math.PI * (2 * index / all.length - 0.5);
    const radius = all.length === 1 ? 0 : 1;
    return [320 + radius * 230 * Math.cos(angle), 150 + radius * 105 * Math.sin(angle)];
  });
  const leads = all.findIndex(node => node?.leads);
  const lines = all.flatMap((node, index) => {
    if (leads < 0 || index === leads || !node || roleOf(node) !== "follower") return [];
    const [[x1, y1], [x2, y2]] = [places[leads], places[index]];
    return [draw("line", { class: "follows", x1, y1, x2, y2 })];
  });
  const circles = all.map((node, index) => {
    const [cx, cy] = places[index];
    const role = node ? roleOf(node) : "unheard";
    const circle = draw("circle", { cx, cy, r: 22 });
    const name = draw("text", { x: cx, y: cy + 40 }, node ? shortened(node.id) : "");
    const title = draw("title", {}, node ? `${node.id}: ${role}` : "not heard");
    const classes = ["node", role, ...(node?.is_own ? ["own"] : [])].join(" ");
    return draw("g", { class: classes, "data-node": node?.id ?? "" }, title, circle, name);
  });
  byId("drawing").replaceChildren(...lines, ...circles);
}

function listNodes(nodes) {
  byId("nodes").replaceChildren(...nodes.map(node => {
    const role = roleOf(node);
    const heard = node.is_own ? "this node" : `${inWords(node.silent_for_seconds)} ago`;
    const priority = node.priority === 0 ? "witness" : String(node.priority ?? "–");
    const paused = node.is_paused ? ", paused" : "";
    const cells = [
      node.id, (ROLES[role] ?? role) + paused, String(node.term ?? "–"), heard,
      node.leads ? "–" : inWords(node.acknowledged_in_seconds), priority,
    ];
    return make("tr", {}, ...cells.map(cell => make("td", {}, cell)));
  }));
}

function headlineOf(status) {
  if (status.state === "closed") return "This node has closed.";
  if (!status.leader) return `Nobody leads, as far as ${status.id} knows (term ${status.term}).`;
  const left = status.lease?.left_seconds ?? status.seen.leader?.lease_left_seconds;
  const lease = left ? `, and its lease lasts for another ${inWords(left)}` : "";
  const value = status.leader_value ? `, and says “${status.leader_value}”` : "";
  return `${status.leader} leads in term ${status.term}${lease}${value}.`;
}

/// What the cluster's key has to say about what is shown.
function doubtsOf(seen) {
  const doubts = seen.is_unverified
    ? ["unverified: the nodes have a key, and without it anybody may have said this"] : [];
  const causes = Object.entries(seen.unauthentic);
  const dropped = causes.reduce((sum, [_, count]) => sum + count, 0);
  if (dropped === 0) return doubts;
  const counts = causes.map(([cause, count]) => `${count} ${cause}`).join(", ");
  return [...doubts, `dropped for their seals: ${dropped} messages (${counts})`];
}

function drawHour(id, history) {
  const now = Date.parse(history.ts), begin = now - HOUR_MS;
  const x = at => 640 * (Math.max(at, begin) - begin) / HOUR_MS;
  const bars = history.changes.map((change, index) => {
    const from = Date.parse(change.at);
    const until = index + 1 < history.changes.length
      ? Date.parse(history.changes[index + 1].at) : now;
    const who = change.leader ?? "nobody";
    const bar = draw("rect", {
      x: x(from), y: 0, width: Math.max(x(until) - x(from), 1), height: 22,
      ...(change.leader ? { fill: colourOf(change.leader) } : { class: "leaderless" }),
    });
    bar.append(draw("title", {}, `${who}, term ${change.term}, ${inWords((until - from) / 1e3)}`));
    return bar;
  });
  const hour = draw("rect", { class: "unknown", width: 640, height: 22 });
  const labels = [[45, "an hour ago"], [320, "30 min"], [620, "now"]]
    .map(([x, text]) => draw("text", { x, y: 38 }, text));
  byId("hour").replaceChildren(hour, ...bars, ...labels);
  const last = history.changes.slice(-LISTED).reverse().map(change => {
    const at = make("time", { datetime: change.at }, new Date(change.at).toLocaleTimeString());
    const text = change.leader
      ? `${change.leader} leads in term ${change.term}`
      : `no leader: ${id} is a ${ROLES[change.state] ?? change.state} in term ${change.term}`;
    return make("li", change.leader ? {} : { class: "leaderless" }, at, text);
  });
  byId("changes").replaceChildren(...last);
}

function show(status, history) {
  const nodes = nodesOf(status);
  const unknown = Math.max(0, status.cluster.size - nodes.length);
  const unheard = unknown + nodes.filter(node => node.is_silent).length;
  document.title = `${status.cluster.name}: ${status.leader ?? "no leader"}`;
  byId("cluster").textContent = status.cluster.name;
  byId("headline").textContent = headlineOf(status);
  drawNodes(nodes, unknown);
  listNodes(nodes);
  const whose = status.leader === status.id ? "" : ": the leader's page shows those who follow it";
  byId("unheard").textContent = unheard ? `Not heard here: ${unheard}${whose}.` : "";
  byId("disagreements").replaceChildren(
    ...status.seen.disagreements.map(words => make("li", {}, words)));
  byId("doubts").replaceChildren(
    ...doubtsOf(status.seen).map(words => make("li", {}, words)));
  drawHour(status.id, history);
  byId("footer").textContent =
    `seen by ${status.id}, ${status.connection}, graft ${status.version}, at ${status.ts}`;
}

async function update() {
  try {
    const [status, history] = await Promise.all([ask("status"), ask("history")]);
    show(status, history);
    byId("lost").hidden = true;
  } catch (error) {
    console.error(error);
    byId("lost").hidden = false;
  }
  setTimeout(update, EVERY_MS);
}

update();
