// One trace on a canvas that stays as tall as what is seen of it: the rows of a large trace scroll under it.
const GUTTER = 148;
const AXIS = 26;
const ELSEWHERE = 3;
// px of a bar that no name covers; and up to which height only what ran there is a bar, and all else a thin line.
const START = 28;
const THIN = 6;

class Chart {
  constructor(trace, page) {
    Object.assign(this, { trace, page, picked: null, over: null, highlight: null, layout: null });
    this.axis = element("canvas", "axis");
    this.box = element("div", "chart");
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-label", `Probes of ${trace.labels.join(", ")} by CPU; arrows move, plus and minus zoom, n and p walk the probes`);
    this.canvas = element("canvas");
    this.spacer = element("div");
    this.box.append(this.canvas, this.spacer);
    this.box.addEventListener("scroll", () => this.draw());
    listen(this);
  }

  update(visible, callers) {
    this.visible = visible;
    this.layout = layout(this.trace, visible, callers);
    this.resize();
  }

  resize() {
    const limit = Math.max(160, Math.round(window.innerHeight * 0.72));
    this.height = Math.min(this.layout.height, limit);
    this.box.style.height = this.height + "px";
    this.width = this.box.clientWidth;
    this.spacer.style.height = this.layout.height - this.height + "px";
    fitCanvas(this.canvas, this.width, this.height);
    fitCanvas(this.axis, this.width, AXIS);
    this.draw();
  }

  // ns <-> pixels
  x(ns) { const { from, to } = this.page.view; return GUTTER + ((ns - from) / (to - from)) * (this.width - GUTTER - 8); }
  ns(x) { const { from, to } = this.page.view; return from + ((x - GUTTER) / (this.width - GUTTER - 8)) * (to - from); }

  draw() {
    if (!this.layout || !this.width) return;
    this.colors = palette();
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio(), 0, 0, ratio(), 0, 0);
    context.fillStyle = this.colors.bg;
    context.fillRect(0, 0, this.width, this.height);
    context.translate(0, -this.box.scrollTop);
    const top = this.box.scrollTop, bottom = top + this.height;
    for (const group of this.layout.groups) if (group.bottom >= top && group.y <= bottom) this.drawGround(context, group);
    this.drawGrid(context, top, bottom);
    context.save();
    context.beginPath();
    context.rect(GUTTER, top, this.width - GUTTER, this.height);
    context.clip();
    for (const lane of this.layout.lanes) if (lane.y + lane.height >= top && lane.y <= bottom) this.drawLane(context, lane);
    this.drawFlows(context);
    this.drawSelection(context, top);
    context.restore();
    for (const group of this.layout.groups) if (group.bottom >= top && group.y <= bottom) this.drawLabels(context, group, top);
    this.drawAxis();
  }

  drawGround(context, group) {
    context.fillStyle = group.node === null || group.node % 2 ? this.colors.nodeB : this.colors.nodeA;
    context.fillRect(0, group.y, this.width, group.bottom - group.y);
  }

  drawGrid(context, top, bottom) {
    context.fillStyle = this.colors.grid;
    for (const tick of this.ticks().at) context.fillRect(Math.round(this.x(tick)), top, 1, bottom - top);
  }

  drawLabels(context, group, top) {
    const { ink, dim, line } = this.colors;
    context.fillStyle = group.node === null || group.node % 2 ? this.colors.nodeB : this.colors.nodeA;
    context.fillRect(0, group.y, GUTTER, group.bottom - group.y);
    context.textBaseline = "middle";
    for (const lane of group.lanes) {
      const first = Math.max(lane.y, top + HEADER), middle = Math.min(first + Math.min(lane.height, 24) / 2, lane.y + lane.height - 5);
      if (lane !== group.lanes[0] && !lane.newLlc) {
        context.fillStyle = this.colors.grid;
        context.fillRect(66, lane.y - 1, this.width, 1);
      }
      if (lane.newLlc && lane.place[1] !== null) {
        context.fillStyle = line;
        context.fillRect(4, lane.y - 1, this.width, 1);
      }
      context.fillStyle = dim;
      context.font = `${Math.min(11.5, lane.height - 1)}px system-ui, "DejaVu Sans", sans-serif`;
      context.fillText(lane.cpu < 0 ? "CPU unknown" : `CPU ${lane.cpu}`, 72, middle);
      if (lane.newLlc && lane.place[1] !== null) context.fillText(`LLC ${lane.place[1]}`, 10, middle);
    }
    const y = Math.min(Math.max(group.y, top), group.bottom - HEADER);
    context.fillStyle = group.node === null || group.node % 2 ? this.colors.nodeB : this.colors.nodeA;
    context.fillRect(0, y, this.width, HEADER - 2);
    context.fillStyle = ink;
    context.font = '600 12px system-ui, "DejaVu Sans", sans-serif';
    context.fillText(nodeLabel(group, this.trace), 8, y + HEADER / 2 - 1);
  }

  ticks() {
    const { from, to } = this.page.view;
    const rough = ((to - from) / Math.max(1, this.width - GUTTER)) * 110;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const at = [];
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) at.push(t);
    return { at, step };
  }

  drawAxis() {
    const context = this.axis.getContext("2d");
    context.setTransform(ratio(), 0, 0, ratio(), 0, 0);
    context.fillStyle = this.colors.panel;
    context.fillRect(0, 0, this.width, AXIS);
    context.font = '11px system-ui, "DejaVu Sans", sans-serif';
    context.textBaseline = "middle";
    context.fillStyle = this.colors.dim;
    context.fillText("time since first probe", 8, AXIS / 2);
    const { at, step } = this.ticks();
    for (const tick of at) {
      const x = Math.round(this.x(tick));
      context.fillRect(x, AXIS - 6, 1, 6);
      if (x > GUTTER - 2 && x < this.width - 46) context.fillText(formatTick(tick, step), x + 4, AXIS / 2);
    }
  }

  // Level of detail: a bar narrower than two pixels is drawn once per pixel and row; states from eight pixels on.
  drawLane(context, lane) {
    const height = this.layout.rowHeight - rowGap(this.layout.rowHeight);
    const { from, to } = this.page.view;
    const reached = [];
    for (const item of lane.items) {
      if (item.end < from || item.start > to) continue;
      const left = this.x(item.start), right = Math.max(this.x(item.end), left + 1);
      const marked = item.probe === this.picked || item.probe === this.over;
      const dull = this.highlight !== null && !this.highlight.has(item.probe.device);
      if (right - left < 2 && !marked && reached[item.row] >= Math.floor(left)) continue;
      reached[item.row] = Math.floor(right);
      context.globalAlpha = dull ? 0.18 : 1;
      if (item.waiting) this.drawWaiting(context, item, left, right, height);
      else this.drawBar(context, item, left, right, height);
      context.globalAlpha = 1;
    }
  }

  drawWaiting(context, item, left, right, height) {
    const middle = item.y + height / 2;
    context.strokeStyle = this.colors.caller;
    context.lineWidth = 1.5;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(left, middle);
    context.lineTo(right, middle);
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = this.colors.caller;
    context.fillRect(left, middle - 4, 2, 8);
    context.fillRect(right - 2, middle - 4, 2, 8);
    if (height > 11) this.drawText(context, `${item.probe.callerComm ?? "caller"} waits for ${item.probe.device}`, left, item.y, right, height, this.colors.caller, true);
  }

  drawBar(context, item, left, right, height) {
    const { probe } = item;
    if (right - left < 8 || probe.running === null) this.fillPlain(context, probe, item.y, left, right, height);
    else if (probe.segments) this.fillSegments(context, probe, item.y, height);
    else this.fillShares(context, probe, item.y, left, right, height);
    if (probe.away && height > 7) this.frame(context, item.y, left, right, height, this.colors.remote, 2);
    else if (probe.away) {
      context.fillStyle = this.colors.remote;
      context.fillRect(left, item.y + height - 1.25, right - left, 1.25);
    }
    if (probe.result !== null && probe.result !== "0" && right - left > 3) {
      context.fillStyle = this.colors.bad;
      context.fillRect(right - 3, item.y, 3, height);
    }
    if (probe === this.picked || probe === this.over) this.frame(context, item.y, left, right, height, this.colors.pick, 2);
    if (height > 11) {
      const label = (probe.away ? "! " : "") + probe.device + (probe.result !== null && probe.result !== "0" ? " " + probe.result : "");
      this.drawText(context, label, left, item.y, right, height, this.colors.ink, false);
    }
  }

  fillPlain(context, probe, y, left, right, height) {
    context.fillStyle = probe.away ? this.colors.remote : probe.running === null ? this.colors.plain : this.stateColor(probe);
    context.fillRect(left, y, right - left, height);
  }

  stateColor(probe) { return probe.runnable > probe.cost * 0.2 ? this.colors.runnable : this.colors.running; }

  fillSegments(context, probe, y, height) {
    let at = probe.start, left = Math.max(this.x(at), GUTTER - 20);
    for (let i = 0; i < probe.segments.length && left < this.width; i += 3) {
      at += probe.segments[i];
      const right = Math.min(this.x(at), this.width + 20);
      const state = probe.segments[i + 1] === 0 && probe.segments[i + 2] !== probe.cpu ? ELSEWHERE : probe.segments[i + 1];
      const thin = height <= THIN, ran = state === 0;
      if (right - left < 0.7 && i + 3 < probe.segments.length && !(thin && ran)) continue;
      if (right > left) (thin && !ran ? fillThin : fillState)(context, this.colors, state, left, y, Math.max(right - left, 0.7), height);
      left = Math.max(left, right);
    }
  }

  // No order is known: three bands, as tall as their shares.
  fillShares(context, probe, y, left, right, height) {
    const total = Math.max(1, probe.running + probe.runnable + probe.sleeping);
    let top = y;
    STATES.forEach((name, state) => {
      const part = (height * probe[name]) / total;
      if (height > THIN || state === 0) fillState(context, this.colors, state, left, top, right - left, part, true);
      else fillThin(context, this.colors, state, left, top, right - left, part);
      top += part;
    });
  }

  frame(context, y, left, right, height, color, width) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.strokeRect(left + width / 2, y + width / 2, Math.max(1, right - left - width), Math.max(1, height - width));
  }

  // A name on a plate of the ground's colour, legible on every state: at the end of what is seen of the bar, whose
  // start stays free; none where both have no room.
  drawText(context, text, left, y, right, height, color, bare) {
    const from = Math.max(left, GUTTER), to = Math.min(right, this.width) - 6;
    context.font = '11px system-ui, "DejaVu Sans", sans-serif';
    context.textBaseline = "middle";
    const width = context.measureText(text).width;
    if (width + 6 + START > to - from) return;
    const at = to - width;
    context.fillStyle = this.colors.bg;
    context.globalAlpha *= bare ? 0.75 : 0.82;
    context.fillRect(at - 2, y + height / 2 - 7, width + 4, 14);
    context.globalAlpha = context.globalAlpha < 0.5 ? 0.35 : 1;
    context.fillStyle = color;
    context.fillText(text, at, y + height / 2 + 0.5);
  }

  // From the caller's lane to the probe's start: all while they are few, else the one looked at.
  drawFlows(context) {
    const few = this.visible.length <= 40;
    const wanted = new Set(few ? this.visible : [this.over, this.picked].filter(Boolean));
    if (!wanted.size) return;
    const ends = new Map();
    for (const lane of this.layout.lanes)
      for (const item of lane.items)
        if (wanted.has(item.probe)) ends.set(item.probe, { ...ends.get(item.probe), [item.waiting ? "from" : "to"]: item });
    context.strokeStyle = this.colors.caller;
    context.lineWidth = 1.25;
    for (const [probe, { from, to }] of ends) if (from && to) this.drawFlow(context, probe, from, to);
  }

  drawFlow(context, probe, from, to) {
    const half = (this.layout.rowHeight - rowGap(this.layout.rowHeight)) / 2;
    const x = this.x(probe.start), y1 = from.y + half, y2 = to.y + half;
    context.globalAlpha = this.highlight && !this.highlight.has(probe.device) ? 0.15 : 0.8;
    context.beginPath();
    context.moveTo(x, y1);
    context.bezierCurveTo(x - 14, y1, x - 14, y2, x, y2);
    context.stroke();
    context.globalAlpha = 1;
  }

  drawSelection(context, top) {
    if (!this.selecting) return;
    context.fillStyle = this.colors.accent;
    context.globalAlpha = 0.18;
    context.fillRect(Math.min(...this.selecting), top, Math.abs(this.selecting[1] - this.selecting[0]), this.height);
    context.globalAlpha = 1;
  }

  // The probe under a point of the canvas, nearest first among bars thinner than a finger.
  hit(x, y) {
    const at = y + this.box.scrollTop;
    if (x < GUTTER) return null;
    for (const lane of this.layout.lanes) {
      if (at < lane.y || at > lane.y + lane.height) continue;
      let best = null, distance = 4;
      for (const item of lane.items) {
        if (at < item.y || at > item.y + this.layout.rowHeight) continue;
        const left = this.x(item.start), right = Math.max(this.x(item.end), left + 1);
        const away = x < left ? left - x : x > right ? x - right : 0;
        if (away < distance) [best, distance] = [item.probe, away];
      }
      return best;
    }
    return null;
  }

  boxOf(probe) {
    for (const lane of this.layout.lanes)
      for (const item of lane.items)
        if (item.probe === probe && !item.waiting)
          return { left: this.x(item.start), right: Math.max(this.x(item.end), this.x(item.start) + 1), top: item.y - this.box.scrollTop, bottom: item.y - this.box.scrollTop + this.layout.rowHeight };
    return null;
  }

  reveal(probe) {
    const box = this.boxOf(probe);
    if (!box) return;
    if (box.top < HEADER || box.bottom > this.height) this.box.scrollTop += box.top - this.height / 2;
  }
}

function nodeLabel(group, trace) {
  if (group.node === null) return "node unknown";
  const used = group.lanes.length, all = trace.nodes[group.node];
  return `node ${group.node}${all ? `  ·  ${used} of ${all} CPUs` : ""}`;
}

// Running is a full bar, runnable a full hatched bar, sleeping a thin line: told apart by shape as well as by colour.
// Running on another CPU than the lane's is hollow: it does not occupy this one.
function fillState(context, colors, state, x, y, width, height, band = false) {
  if (width <= 0 || height <= 0) return;
  if (state === ELSEWHERE) {
    context.fillStyle = colors.running;
    const alpha = context.globalAlpha;
    context.globalAlpha = alpha * 0.3;
    context.fillRect(x, y, width, height);
    context.globalAlpha = alpha;
    context.fillRect(x, y, width, 1);
    context.fillRect(x, y + height - 1, width, 1);
    return;
  }
  context.fillStyle = [colors.running, colors.runnable, colors.sleeping][state];
  if (state === 2 && !band) {
    const thin = Math.max(2, height * 0.34);
    context.fillRect(x, y + (height - thin) / 2, width, thin);
    return;
  }
  context.fillRect(x, y, width, height);
  if (state === 1 && width > 3 && height > 5) hatch(context, colors, x, y, width, height);
}

// In a thin lane a hatched or pale bar would look like one that ran there.
function fillThin(context, colors, state, x, y, width, height) {
  context.fillStyle = state === 1 ? colors.runnable : colors.sleeping;
  context.fillRect(x, y + height / 2 - 0.5, width, 1);
}

function hatch(context, colors, x, y, width, height) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colors.bg;
  context.lineWidth = 1.2;
  context.globalAlpha *= 0.7;
  context.beginPath();
  for (let at = Math.floor((x - height) / 6) * 6; at < x + width; at += 6) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}

const ratio = () => window.devicePixelRatio || 1;

function fitCanvas(canvas, width, height) {
  canvas.width = Math.round(width * ratio());
  canvas.height = Math.round(height * ratio());
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = { bg: "bg", panel: "panel", ink: "ink", dim: "dim", line: "line", grid: "grid", nodeA: "node-a", nodeB: "node-b",
    accent: "accent", running: "running", runnable: "runnable", sleeping: "sleeping", plain: "plain", remote: "remote",
    bad: "bad", caller: "caller", pick: "pick" };
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [key, style.getPropertyValue("--" + name).trim()]));
}
