"use strict";
const at = (id) => document.getElementById(id);
let state = null, chosen = null;

// Names come from files: they are set as text, never as HTML.
const make = (tag, text, className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

function figures() {
  const { counts, rate, p95, model, sinks, dropped, problem } = state;
  const all = counts.good + counts.anomalous + counts.uninspectable;
  const share = (n) => (all ? `${n} (${(100 * n / all).toFixed(1)} %)` : "0");
  const rows = [["version", model || "–"], ["images", all], ["anomalous", share(counts.anomalous)],
    ["uninspectable", share(counts.uninspectable)], ["dropped", dropped], ["images a second", rate.toFixed(2)],
    ["95 % within", p95 === null ? "–" : `${p95.toFixed(2)} s`],
    ...sinks.map((s) => [s.name, s.waiting ? `${s.waiting} waiting` : "has all"])];
  at("figures").replaceChildren(...rows.map(([name, value]) => {
    const cell = document.createElement("div");
    cell.append(make("dt", name), make("dd", String(value)));
    return cell;
  }));
  at("away").textContent = [problem, ...sinks.map((s) => s.problem)].filter(Boolean).join("; ");
}

function show() {
  const one = state.last.find((v) => v.number === chosen) ?? state.last[0];
  if (!one) return;
  const verdict = at("verdict");
  verdict.className = one.verdict;
  const score = one.score === null ? one.reason : `score ${one.score.toFixed(3)}, threshold ${one.threshold.toFixed(3)}`;
  verdict.replaceChildren(one.verdict, make("small", `${one.image}: ${score}${one.defects.length ? ` (${one.defects.join(", ")})` : ""}`));
  at("picture").hidden = !one.picture;
  if (one.picture) {
    at("picture").src = `/picture/${one.number}`;
    at("picture").alt = `image, heatmap and outlines of ${one.image}`;
  }
  at("wrong").hidden = false;
  at("wrong").dataset.number = one.number;
  at("follow").hidden = chosen === null;
  at("strip").replaceChildren(...state.last.map((v) => {
    const button = make("button", "", v.verdict);
    button.setAttribute("aria-pressed", String(v.number === one.number));
    if (v.picture) button.append(Object.assign(document.createElement("img"), { src: `/picture/${v.number}`, alt: "", loading: "lazy" }));
    button.append(`${v.image}: ${v.verdict}`);
    button.onclick = () => { chosen = v.number; show(); };
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

at("follow").onclick = () => { chosen = null; show(); };
at("wrong").onclick = async () => {
  const number = at("wrong").dataset.number;
  const answer = await fetch(`/wrong/${number}`, { method: "POST", headers: { "X-Knotwatch": "line" } });
  const said = await answer.json();
  at("said").textContent = answer.ok ? `kept for review as ${said.kept}` : said.message;
};
const source = new EventSource("/events");
source.onmessage = (event) => { state = JSON.parse(event.data); figures(); show(); };
source.onerror = () => { at("away").textContent = "the line does not answer: it was stopped, or this page lost it"; };
