// The page: filters, findings, figures, details. All text goes in as text, never as markup.
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
const byId = (id) => document.getElementById(id);

class Page {
  constructor(data) {
    this.data = data;
    this.filter = { driver: "", node: "", device: "" };
    this.pinned = false;
    byId("title").textContent = data.title;
    byId("subtitle").textContent = data.subtitle;
    this.fit(false);
    this.charts = data.traces.map((trace) => new Chart(trace, this));
    byId("callers").checked = Math.max(...data.traces.map((trace) => trace.probes.length)) <= 200;
    this.buildPanels();
    this.buildOverview();
    this.buildFilters();
    this.buildFindings();
    this.buildButtons();
    this.apply();
    window.addEventListener("resize", () => this.charts.forEach((chart) => chart.resize()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  // ---- the view ----
  show(from, to) {
    const span = Math.min(Math.max(to - from, 10), this.data.end * 1.5);
    const middle = Math.min(Math.max((from + to) / 2, 0), this.data.end);
    this.view = { from: middle - span / 2, to: middle + span / 2 };
    this.redraw();
  }
  fit(draw = true) {
    this.view = { from: -this.data.end * 0.018, to: this.data.end * 1.02 };
    if (draw) this.redraw();
  }
  zoom(factor, at = (this.view.from + this.view.to) / 2) {
    const { from, to } = this.view;
    if ((to - from) * factor < 10 || (to - from) * factor > this.data.end * 1.5) return factor > 1 ? this.fit() : undefined;
    this.view = { from: at - (at - from) * factor, to: at + (to - at) * factor };
    this.redraw();
  }
  pan(share) {
    const shift = (this.view.to - this.view.from) * share;
    this.show(this.view.from + shift, this.view.to + shift);
  }
  fitProbe(chart, probe) {
    if (!probe) return;
    const margin = Math.max(probe.cost * 0.25, 10);
    this.show(probe.start - margin, probe.end + margin);
    chart.reveal(probe);
  }
  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.charts.forEach((chart) => chart.draw()); });
  }

  // ---- panels and figures ----
  buildPanels() {
    this.charts.forEach((chart) => {
      const panel = element("section", "panel");
      const head = element("header");
      const [label, ...others] = chart.trace.labels;
      head.append(element("h2", "", label), element("span", "", chart.trace.about));
      if (others.length) head.append(element("span", "same", `the same under ${others.join(", ")}`));
      const fit = element("button", "", "Fit this run");
      fit.addEventListener("click", () => this.show(-chart.trace.end * 0.02, chart.trace.end * 1.04));
      head.append(fit);
      for (const warning of chart.trace.warnings) head.append(element("span", "warning", warning));
      panel.append(head, chart.axis, chart.box);
      byId("panels").append(panel);
      chart.panel = panel;
    });
  }

  buildOverview() {
    const table = element("table");
    const head = element("tr");
    const titles = ["run", "worst", "vs base", "mean", "vs base", "makespan", "vs base", "on node", "findings"];
    for (const title of titles.filter((title) => this.data.runs.length > 1 || title !== "vs base")) {
      const cell = element("th", "", title);
      cell.scope = "col";
      head.append(cell);
    }
    table.append(head, ...this.data.runs.map((run) => this.overviewRow(run)));
    byId("overview").append(table);
  }

  overviewRow({ label, panel, summary, difference, findings }) {
    const chart = this.charts[panel];
    const row = element("tr");
    const jump = element("button", "", label);
    jump.addEventListener("click", () => chart.panel.scrollIntoView({ behavior: "smooth", block: "center" }));
    const first = element("td");
    first.append(jump);
    row.append(first);
    for (const name of ["worst", "mean", "makespan"]) {
      row.append(element("td", "", summary[name + "_ns"] === null ? "-" : formatTime(summary[name + "_ns"])));
      if (this.data.runs.length > 1) row.append(this.percentCell(difference[name + "_percent"], label === this.data.baseline));
    }
    row.append(element("td", "", summary.local_share === null ? "-" : Math.round(100 * summary.local_share) + " %"));
    row.append(element("td", "text", [...new Set(findings.map((finding) => finding.kind))].join(", ") || "none"));
    return row;
  }

  percentCell(value, isBase) {
    if (isBase) return element("td", "quiet", "base");
    if (value === null) return element("td", "quiet", "-");
    return element("td", value <= -1 ? "better" : value >= 1 ? "worse" : "", (value > 0 ? "+" : "") + value.toFixed(1) + " %");
  }

  // ---- filters ----
  buildFilters() {
    const all = this.data.traces.flatMap((trace) => trace.probes);
    const drivers = [...new Set(all.map((probe) => probe.driver))].sort();
    const nodes = [...new Set(all.map((probe) => probe.deviceNode))].sort((a, b) => (a ?? 1e9) - (b ?? 1e9));
    options(byId("driver"), [["", "all"], ...drivers.map((name) => [name, name])]);
    options(byId("node"), [["", "all"], ...nodes.map((node) => [String(node), node === null ? "unknown" : node < 0 ? "none (-1)" : String(node)])]);
    for (const name of ["driver", "node", "device"])
      byId(name).addEventListener("input", (event) => { this.filter[name] = event.target.value; this.apply(); });
    byId("callers").addEventListener("change", () => this.apply());
  }

  matches(probe) {
    const { driver, node, device } = this.filter;
    return (!driver || probe.driver === driver) && (!node || String(probe.deviceNode) === node)
      && (!device || probe.device.toLowerCase().includes(device.toLowerCase()));
  }

  apply() {
    let shown = 0, total = 0;
    for (const chart of this.charts) {
      const visible = chart.trace.probes.filter((probe) => this.matches(probe));
      shown += visible.length;
      total += chart.trace.probes.length;
      chart.update(visible, byId("callers").checked);
    }
    byId("shown").textContent = shown === total ? `${total} probes` : `${shown} of ${total} probes`;
  }

  // ---- findings ----
  buildFindings() {
    const side = byId("findings");
    side.append(element("h2", "", "Findings"));
    if (this.data.runs.every((run) => !run.findings.length)) side.append(element("p", "quiet", "Nothing found."));
    for (const card of this.cards()) side.append(this.findingButton(card));
  }

  // What is true of several runs is one card; the order is the catalogue's.
  cards() {
    const cards = new Map();
    for (const run of this.data.runs)
      for (const finding of run.findings) {
        const key = JSON.stringify([finding.kind, finding.evidence, finding.advice, [...finding.devices]]);
        if (!cards.has(key)) cards.set(key, { finding, labels: [], charts: [] });
        const { labels, charts } = cards.get(key), chart = this.charts[run.panel];
        labels.push(run.label);
        if (!charts.includes(chart)) charts.push(chart);
      }
    return [...cards.values()].sort((a, b) => a.finding.rank - b.finding.rank);
  }

  findingButton(card) {
    const { finding, labels } = card;
    const button = element("button", "finding");
    button.setAttribute("aria-pressed", "false");
    const count = finding.devices.size;
    if (this.data.runs.length > 1) button.append(element("span", "runs", labels.join(", ")));
    button.append(element("b", "", finding.kind), element("span", "what", `${finding.summary} (${count} device${count === 1 ? "" : "s"})`),
      element("span", "evidence", finding.evidence), element("span", "advice", finding.advice));
    button.addEventListener("click", () => this.toggleFinding(card, button));
    return button;
  }

  toggleFinding({ finding, charts }, button) {
    const on = button.getAttribute("aria-pressed") !== "true";
    this.letGo();
    if (!on) return;
    button.setAttribute("aria-pressed", "true");
    const shown = charts.flatMap((chart) => {
      chart.highlight = finding.devices;
      return chart.visible.filter((probe) => finding.devices.has(probe.device));
    });
    if (shown.length) {
      const from = shown.reduce((least, probe) => Math.min(least, probe.start), Infinity);
      const to = shown.reduce((most, probe) => Math.max(most, probe.end), 0);
      const margin = (to - from) * 0.06 + 5;
      this.show(from - margin, to + margin);
      charts.forEach((chart) => chart.reveal(shown.find((probe) => probe.trace === chart.trace) ?? shown[0]));
    }
    charts[0].panel.scrollIntoView({ behavior: "smooth", block: "nearest" });
    this.redraw();
  }

  // ---- details ----
  hover(chart, probe, event) {
    if (this.pinned || chart.over === probe) { if (probe && !this.pinned) this.moveTip(event.clientX, event.clientY); return; }
    this.charts.forEach((other) => { other.over = null; });
    chart.over = probe;
    chart.canvas.classList.toggle("over", Boolean(probe));
    if (probe) this.tell(probe, event.clientX, event.clientY);
    else byId("tip").hidden = true;
    this.redraw();
  }

  pick(chart, probe, event) {
    this.charts.forEach((other) => { other.picked = null; other.over = null; });
    chart.picked = probe;
    this.pinned = Boolean(probe);
    if (probe) {
      const box = chart.boxOf(probe), frame = chart.canvas.getBoundingClientRect();
      this.tell(probe, event ? event.clientX : frame.left + Math.max(GUTTER, box.left), event ? event.clientY : frame.top + box.bottom);
    } else byId("tip").hidden = true;
    byId("tip").classList.toggle("pinned", this.pinned);
    this.redraw();
  }

  walk(chart, step) {
    if (!chart.visible.length) return;
    const ordered = [...chart.visible].sort((a, b) => a.start - b.start);
    const index = ordered.indexOf(chart.picked);
    const next = ordered[(index + step + ordered.length) % ordered.length] ?? ordered[0];
    if (next.start < this.view.from || next.end > this.view.to) this.fitProbe(chart, next);
    chart.reveal(next);
    this.pick(chart, next);
  }

  letGo() {
    this.charts.forEach((chart) => Object.assign(chart, { picked: null, over: null, highlight: null }));
    document.querySelectorAll(".finding").forEach((button) => button.setAttribute("aria-pressed", "false"));
    this.pinned = false;
    byId("tip").hidden = true;
    this.redraw();
  }

  tell(probe, x, y) {
    const tip = byId("tip");
    const list = element("dl");
    for (const [name, value] of details(probe)) list.append(element("dt", "", name), element("dd", "", value));
    tip.replaceChildren(element("b", "", `${probe.driver} ${probe.device}`));
    if (probe.away) tip.append(element("span", "alert", `ran on node ${probe.cpuNode}, the device is on node ${probe.deviceNode}`));
    tip.append(list);
    tip.hidden = false;
    this.moveTip(x, y);
  }

  moveTip(x, y) {
    const tip = byId("tip");
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, x + 16 + width > innerWidth ? x - width - 12 : x + 16) + "px";
    tip.style.top = Math.max(4, y + 16 + height > innerHeight ? y - height - 12 : y + 16) + "px";
  }

  // ---- buttons ----
  buildButtons() {
    byId("zoom-in").addEventListener("click", () => this.zoom(0.6));
    byId("zoom-out").addEventListener("click", () => this.zoom(1 / 0.6));
    byId("fit").addEventListener("click", () => this.fit());
    byId("theme").addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      this.legend();
      this.redraw();
    });
    byId("help").addEventListener("click", () => {
      byId("helptext").hidden = !byId("helptext").hidden;
      byId("help").setAttribute("aria-expanded", String(!byId("helptext").hidden));
    });
    this.legend();
  }

  legend() {
    const colors = palette();
    const items = [
      ["running", (c) => fillState(c, colors, 0, 0, 1, 26, 12)],
      ["on another CPU", (c) => fillState(c, colors, ELSEWHERE, 0, 1, 26, 12)],
      ["runnable: waits for a CPU", (c) => fillState(c, colors, 1, 0, 1, 26, 12)],
      ["sleeping", (c) => fillState(c, colors, 2, 0, 1, 26, 12)],
      ["not known", (c) => { c.fillStyle = colors.plain; c.fillRect(0, 1, 26, 12); }],
      ["off its device's node", (c) => { c.strokeStyle = colors.remote; c.lineWidth = 2; c.strokeRect(1, 2, 24, 10); }],
      ["its caller waits", (c) => { c.strokeStyle = colors.caller; c.setLineDash([4, 3]); c.lineWidth = 1.5; c.beginPath(); c.moveTo(0, 7); c.lineTo(26, 7); c.stroke(); }],
      ["bands: shares, no order recorded", (c) => { fillState(c, colors, 0, 0, 1, 26, 4, true); fillState(c, colors, 1, 0, 5, 26, 4, true); fillState(c, colors, 2, 0, 9, 26, 4, true); }],
    ];
    byId("legend").replaceChildren(...items.map(([text, paint]) => {
      const item = element("li"), swatch = element("canvas");
      fitCanvas(swatch, 26, 14);
      const context = swatch.getContext("2d");
      context.scale(ratio(), ratio());
      paint(context);
      item.append(swatch, element("span", "", text));
      return item;
    }));
  }
}

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => {
    const option = element("option", "", text);
    option.value = value;
    return option;
  }));
}

function details(probe) {
  const share = (ns) => (ns === null ? "unknown" : `${formatTime(ns)} (${Math.round((100 * ns) / Math.max(1, probe.cost))} %)`);
  const node = (value) => (value === null ? "unknown" : value < 0 ? "none (-1)" : String(value));
  const rows = [
    ["cost", formatTime(probe.cost)], ["running", share(probe.running)], ["runnable", share(probe.runnable)],
    ["sleeping", share(probe.sleeping)], ["start", probe.timed ? formatTime(probe.start) : "not recorded"],
    ["CPU", `${probe.cpu ?? "unknown"} (node ${node(probe.cpuNode)})`], ["device node", node(probe.deviceNode)],
    ["task", probe.comm ?? "unknown"],
  ];
  if (probe.locks) {
    rows.push(["waited for others", probe.locks.total ? share(probe.locks.total) : "no"]);
    for (const one of probe.locks.named)
      rows.push([one.lock, `${formatTime(one.ns)} in ${one.times}` + (one.holder === null ? "" : `, held by ${one.holder}`)]);
    if (probe.locks.more) rows.push(["and", `${probe.locks.more} more`]);
  }
  if (probe.cpus && probe.cpus.length > 1) rows.push(["visited CPUs", probe.cpus.join(", ")]);
  if (probe.remote) rows.push(["ran off its node", formatTime(probe.remote)]);
  if (probe.callerComm !== null) rows.push(["caller", probe.waits ? `${probe.callerComm} on CPU ${probe.callerCpu}` : "ran inline in it"]);
  if (probe.memory) rows.push(["memory", Object.entries(probe.memory).map(([n, size]) => `node ${n}: ${formatSize(size)}`).join(", ")]);
  rows.push(["result", probe.result ?? "unknown"], ["timed", probe.func ?? "the probe"],
    ["asked for", (probe.async === null ? "unknown" : probe.async ? "asynchronously" : "synchronously") + (probe.nested ? ", nested in another probe" : "")]);
  if (probe.path !== null) rows.push(["reached by", probe.path]);
  if (probe.attempt > 1) rows.push(["attempt", String(probe.attempt)]);
  return rows;
}

const page = new Page(unpack());
// For tests and for people at the console: what is drawn now, and where.
window.numaprobe = {
  view: () => ({ ...page.view }),
  bars: (index = 0) => page.charts[index].visible.map((probe) => ({ device: probe.device, driver: probe.driver, ...page.charts[index].boxOf(probe) })),
  highlighted: (index = 0) => [...(page.charts[index].highlight ?? [])],
};
