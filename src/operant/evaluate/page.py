"""The style and the script of the report. Both stand in the page itself, so that it needs nothing from a network."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --raised: #f4f6f8; --ink: #16202b; --quiet: #56616d; --rule: #d4dae0; --accent: #0b5cad; --warn: #fff3d6; --warn-ink: #5c4200;
  --up: 0 114 178; --down: 213 94 0; --surprise: 204 94 160; --entropy: 0 158 115; --kl: 214 140 0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --raised: #1b2128; --ink: #e4e9ee; --quiet: #9aa7b4; --rule: #333d47; --accent: #7ab8f5; --warn: #3a2f12; --warn-ink: #f3d58a;
    --up: 60 150 220; --down: 230 110 30; --surprise: 214 120 176; --entropy: 20 175 130; --kl: 230 165 40;
    --series-0: #4aa3df; --series-1: #f0803c; --series-2: #2fc49a; --series-3: #dd96be; --series-4: #f0b232; --series-6: #a6a6a6;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem clamp(0.9rem, 4vw, 2.5rem) 4rem; max-width: 74rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif;
}
h1 { font-size: clamp(1.3rem, 4vw, 1.8rem); line-height: 1.2; margin: 0 0 0.3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 0.7rem; padding-bottom: 0.25rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.4rem 0 0.5rem; overflow-wrap: anywhere; }
p { margin: 0.4rem 0; max-width: 70ch; }
.quiet, figcaption { color: var(--quiet); font-size: 0.9rem; }
.warning { background: var(--warn); color: var(--warn-ink); padding: 0.45rem 0.8rem; border-radius: 6px; max-width: none; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 0.7rem 0; font-size: 0.93rem; }
th, td { text-align: left; padding: 0.4rem 0.6rem; border-bottom: 1px solid var(--rule); vertical-align: top; overflow-wrap: break-word; }
.wide { overflow-x: auto; }
th { font-weight: 600; color: var(--quiet); font-size: 0.85rem; vertical-align: bottom; overflow-wrap: normal; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
tr.first > td { border-top: 2px solid var(--rule); }
.plots { display: grid; gap: 1.4rem 2rem; align-items: start; }
.plots.one { max-width: 40rem; }
.plots.two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.plots.three { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; break-inside: avoid; min-width: 0; }
figcaption { margin-top: 0.3rem; }
figcaption a.term { white-space: nowrap; }
a.term { color: inherit; text-decoration: underline dotted; text-underline-offset: 0.2em; }
a.term:hover { color: var(--accent); }
#glossary dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0.7rem 2rem; margin: 0; }
#glossary dt { font-weight: 600; overflow-wrap: anywhere; }
#glossary dd { margin: 0; color: var(--quiet); font-size: 0.93rem; }
#glossary div:target { background: var(--raised); outline: 2px solid var(--accent); outline-offset: 4px; border-radius: 3px; }
svg.figure { display: block; width: 100%; height: auto; }
.diagnoses { margin: 0.4rem 0; padding-left: 1.2rem; max-width: 70ch; }
.video img { display: block; width: 100%; max-width: 26rem; border: 1px solid var(--rule); border-radius: 6px; }
details { border: 1px solid var(--rule); border-radius: 6px; margin: 0.6rem 0; padding: 0 0.9rem; }
details > summary { cursor: pointer; padding: 0.55rem 0; font-weight: 600; overflow-wrap: anywhere; }
details[open] { padding-bottom: 0.8rem; }
.settings { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 2rem; }
.settings h4 { margin: 0.6rem 0 0; font-size: 0.9rem; color: var(--quiet); }
.settings th { width: 55%; font-weight: 400; font-size: inherit; vertical-align: top; overflow-wrap: anywhere; }
.settings td, .settings th { padding: 0.2rem 0.4rem 0.2rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.controls { display: flex; flex-wrap: wrap; gap: 0.6rem 1.4rem; align-items: center; margin: 0.7rem 0; font-size: 0.93rem; }
.controls label { display: inline-flex; gap: 0.4rem; align-items: center; }
.controls fieldset { border: 0; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; min-width: 0; }
.controls legend { float: left; margin-right: 0.8rem; padding: 0; color: var(--quiet); }
select, button {
  font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--rule); border-radius: 6px; padding: 0.25rem 0.6rem; max-width: 100%;
}
button { cursor: pointer; }
.scale { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; font-size: 0.85rem; color: var(--quiet); font-variant-numeric: tabular-nums; }
.scale .bar { width: 9rem; height: 0.8rem; border: 1px solid var(--rule); border-radius: 3px; }
.group { border: 1px solid var(--rule); border-radius: 6px; margin: 0.8rem 0; padding: 0.6rem 0.9rem; }
.group h4 { margin: 0 0 0.3rem; font-size: 0.93rem; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; justify-content: space-between; }
.prompt, .tokens { font: 0.9rem/1.75 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.prompt { background: var(--raised); border-radius: 4px; padding: 0.2rem 0.5rem; margin: 0 0 0.4rem; }
.completion {
  display: grid; grid-template-columns: 7.5rem minmax(0, 1fr); gap: 0 0.8rem; border-top: 1px solid var(--rule); padding: 0.3rem 0; break-inside: avoid;
}
.speaker { color: var(--quiet); }
.completion .reward { font-size: 0.85rem; line-height: 1.85; font-variant-numeric: tabular-nums; color: var(--quiet); }
.token {
  border-radius: 3px; box-decoration-break: clone; -webkit-box-decoration-break: clone; padding: 0.1em 0; cursor: default;
  box-shadow: inset -1px 0 0 var(--page);
}
.token.masked { color: var(--quiet); opacity: 0.6; text-decoration: underline dotted; }
.token .return { color: var(--quiet); }
#tip {
  position: fixed; z-index: 2; background: var(--ink); color: var(--page); border-radius: 6px; padding: 0.4rem 0.65rem; font-size: 0.85rem; line-height: 1.4;
  pointer-events: none;
  white-space: pre-wrap; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; max-width: calc(100vw - 1rem);
}
@media (max-width: 46rem) {
  table.scores thead, table.pass-at-k thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table.scores tr, table.pass-at-k tr { display: block; border: 1px solid var(--rule); border-radius: 6px; margin: 0.6rem 0; padding: 0.2rem 0.8rem; }
  table.scores td, table.pass-at-k td {
    display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: 0.15rem 0; text-align: right; min-width: 0; white-space: normal;
  }
  table.scores td span, table.pass-at-k td span { overflow-wrap: anywhere; min-width: 0; }
  table.scores td::before, table.pass-at-k td::before { content: attr(data-label); color: var(--quiet); text-align: left; white-space: nowrap; }
  .completion { grid-template-columns: minmax(0, 1fr); }
}
@media print {
  :root {
    color-scheme: light; --page: #fff; --raised: #f4f6f8; --ink: #000; --quiet: #444; --rule: #bbb;
    --up: 0 114 178; --down: 213 94 0; --surprise: 204 94 160; --entropy: 0 158 115; --kl: 214 140 0;
    --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73; --series-3: #cc79a7; --series-4: #e69f00; --series-6: #8c8c8c;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .controls, button { display: none; }
  .token, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; }
}
"""

SCRIPT = """
"use strict";
(() => {
  const PAGE = 8;
  const runs = JSON.parse(document.getElementById("completions-data").textContent);
  const at = (id) => document.getElementById(id);
  const tip = at("tip"), list = at("groups"), more = at("more");
  const KINDS = {
    advantage: { name: "advantage", low: "--down", high: "--up" },
    entropy: { name: "entropy, nats", low: null, high: "--entropy" },
    ratio: { name: "ratio", low: "--down", high: "--up", size: Math.log, from: Math.exp },
    kl: { name: "KL, nats", low: null, high: "--kl" },
    log_prob: { name: "log-probability", low: "--surprise", high: null },
  };
  const UNSCORED = { timeout: "no score: out of time", crashed: "no score: verifier or reply failed", malformed: "no score: verifier or reply unreadable" };
  // What a figure's colour stands for, 0 for none: a ratio's logarithm, anything else itself.
  const size = (name, value) => value === null ? null : KINDS[name].size ? KINDS[name].size(Math.max(value, 1e-9)) : value;
  const rowOf = new WeakMap();
  let shown = PAGE, limits = {};

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const number = (value) => value === null || value === undefined ? "–" : (Math.abs(value) >= 1000 ? value.toFixed(0) : value.toFixed(3)).replace("-", "−");
  const run = () => runs[Number(at("run").value)];
  const kind = () => document.querySelector('input[name="colour"]:checked').value;

  // The colour's full strength stands for the 98th percentile, so that one outlier does not bleach the rest.
  const setLimits = () => {
    limits = {};
    for (const name of Object.keys(KINDS)) {
      const sizes = [];
      for (const row of run().rows) row[name].forEach((value, i) => { if (value !== null && row.mask[i]) sizes.push(Math.abs(size(name, value))); });
      sizes.sort((a, b) => a - b);
      limits[name] = sizes.length ? sizes[Math.floor(0.98 * (sizes.length - 1))] : 0;
      const radio = document.querySelector(`input[name="colour"][value="${name}"]`);
      radio.disabled = !sizes.length;
      if (radio.disabled && radio.checked) document.querySelector('input[name="colour"][value="log_prob"]').checked = true;
    }
  };

  const colour = (span, row, i) => {
    const name = kind(), value = size(name, row[name][i]), limit = limits[name];
    const hue = value === null || !row.mask[i] || limit === 0 ? null : value < 0 ? KINDS[name].low : KINDS[name].high;
    span.style.backgroundColor = hue ? `rgb(var(${hue}) / ${(0.62 * Math.min(1, Math.abs(value) / limit)).toFixed(3)})` : "";
  };

  const paint = () => {
    for (const line of list.querySelectorAll(".tokens")) {
      const row = rowOf.get(line);
      for (const span of line.querySelectorAll(".token")) colour(span, row, Number(span.dataset.i));
    }
    const name = kind(), { low, high } = KINDS[name], limit = limits[name], scale = at("scale");
    const stop = (hue) => hue ? `rgb(var(${hue}) / 0.62)` : "transparent";
    const bar = make("span", "bar");
    const ends = low && high ? [stop(low), "transparent", stop(high)] : [stop(low), stop(high)];
    bar.style.background = `linear-gradient(to right, ${ends.join(", ")})`;
    const end = (value) => number(KINDS[name].from ? KINDS[name].from(value) : value);
    scale.replaceChildren(make("span", "", `${KINDS[name].name} ${low ? end(-limit) : "0"}`), bar, make("span", "", high ? end(limit) : "0"));
  };

  const tokenSpan = (row, i) => {
    const span = make("span", row.mask[i] ? "token" : "token masked");
    row.text[i].split("\\n").forEach((part, position) => {
      if (position) span.append(make("span", "return", "↵"), "\\n");
      span.append(part);
    });
    span.dataset.i = i;
    span.tabIndex = i === 0 ? 0 : -1;
    return span;
  };

  const completion = (row) => {
    const box = make("div", "completion"), line = make("div", "tokens");
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", "tokens; left and right arrow keys move between them");
    rowOf.set(line, row);
    // Where the answer takes turns, a line for each who speaks: the policy, or the task that replies to it.
    const speaker = (i) => `${row.reply[i] ? "task" : "policy"} ${row.turn[i] + 1}`;
    row.text.forEach((_, i) => {
      if (row.turn && (i === 0 || speaker(i) !== speaker(i - 1))) line.append(make("span", "speaker", `${i ? "\\n" : ""}${speaker(i)}: `));
      line.append(tokenSpan(row, i));
    });
    box.append(make("div", "reward", UNSCORED[row.status] || `reward ${number(row.reward)}`), line);
    return box;
  };

  // Rows that the verifier could not score stand at the end of either order.
  const ordered = (items, value) => {
    const order = at("order").value;
    if (order === "drawn") return items;
    const sign = order === "worst" ? 1 : -1;
    return [...items].sort((a, b) => {
      const x = value(a), y = value(b);
      return x === null ? (y === null ? 0 : 1) : y === null ? -1 : sign * (x - y);
    });
  };
  const reward = (row) => row.reward;
  const average = (rows) => {
    const scored = rows.map(reward).filter((value) => value !== null);
    return scored.length ? scored.reduce((a, b) => a + b, 0) / scored.length : null;
  };

  const render = () => {
    tip.hidden = true;
    const step = Number(at("step").value), groups = new Map();
    for (const row of run().rows) {
      if (row.step !== step) continue;
      const key = `${row.seed}/${row.group}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    const all = ordered([...groups.values()], average);
    list.replaceChildren(...all.slice(0, shown).map((rows) => {
      const box = make("section", "group"), head = make("h4");
      const many = new Set(run().rows.map((row) => row.seed)).size > 1;
      head.append(make("span", "", `problem ${rows[0].group}${many ? `, seed ${rows[0].seed}` : ""}`));
      head.append(make("span", "quiet", `mean reward ${number(average(rows))} of ${rows.length} ${rows.length > 1 ? "answers" : "answer"}`));
      box.append(head, make("div", "prompt", rows[0].prompt), ...ordered(rows, reward).map(completion));
      return box;
    }));
    at("count").textContent = `${Math.min(shown, all.length)} of ${all.length} problems`;
    more.hidden = shown >= all.length;
    paint();
  };

  const chooseRun = () => {
    const steps = [...new Set(run().rows.map((row) => row.step))].sort((a, b) => a - b);
    at("step").replaceChildren(...steps.map((step) => {
      const option = make("option", "", step.toLocaleString("en"));
      option.value = step;
      return option;
    }));
    at("step").value = steps[steps.length - 1];
    at("logged").textContent = steps.length < run().logged ? `${steps.length} of ${run().logged} logged steps are in this file.` : "";
    shown = PAGE;
    setLimits();
    render();
  };

  const show = (span) => {
    const row = rowOf.get(span.closest(".tokens")), i = Number(span.dataset.i);
    tip.textContent = `token ${i + 1} of ${row.text.length}: ${JSON.stringify(row.text[i])}\\nlog-probability ${number(row.log_prob[i])}\\n` +
      `advantage ${number(row.advantage[i])}\\nentropy ${number(row.entropy[i])}\\nratio ${number(row.ratio[i])}\\nKL ${number(row.kl[i])}\\n` +
      `mask ${row.mask[i] ? "1: the policy chose it" : "0: not trained on"}`;
    span.setAttribute("aria-describedby", "tip");
    tip.hidden = false;
    const box = span.getClientRects()[0] || span.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(box.left, document.documentElement.clientWidth - own.width - 8))}px`;
    tip.style.top = `${box.top - own.height - 6 > 0 ? box.top - own.height - 6 : box.bottom + 6}px`;
  };
  const hide = (span) => { tip.hidden = true; if (span) span.removeAttribute("aria-describedby"); };
  const tokenAt = (event) => event.target.closest ? event.target.closest(".token") : null;

  list.addEventListener("mouseover", (event) => { const span = tokenAt(event); if (span) show(span); });
  list.addEventListener("mouseout", (event) => hide(tokenAt(event)));
  list.addEventListener("focusin", (event) => { const span = tokenAt(event); if (span) show(span); });
  list.addEventListener("focusout", (event) => hide(tokenAt(event)));
  list.addEventListener("keydown", (event) => {
    const span = tokenAt(event);
    if (!span) return;
    if (event.key === "Escape") { hide(span); return; }
    const tokens = [...span.parentElement.querySelectorAll(".token")], place = tokens.indexOf(span);
    const next = { ArrowRight: tokens[place + 1], ArrowLeft: tokens[place - 1], Home: tokens[0], End: tokens[tokens.length - 1] }[event.key];
    if (!next) return;
    event.preventDefault();
    span.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  // Reaching a token by keyboard may scroll the page: its figures go along.
  addEventListener("scroll", () => {
    const span = tokenAt({ target: document.activeElement });
    if (span && span.hasAttribute("aria-describedby")) show(span);
    else tip.hidden = true;
  }, { passive: true });
  for (const input of document.querySelectorAll('input[name="colour"]')) input.addEventListener("change", paint);
  at("run").addEventListener("change", chooseRun);
  for (const id of ["step", "order"]) at(id).addEventListener("change", () => { shown = PAGE; render(); });
  more.addEventListener("click", () => { shown += PAGE; render(); });
  at("run").replaceChildren(...runs.map((each, i) => {
    const option = make("option", "", each.name);
    option.value = i;
    return option;
  }));
  at("run").parentElement.hidden = runs.length < 2;
  chooseRun();
})();
"""
