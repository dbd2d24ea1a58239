// Where things are: a lane per used CPU, grouped by node and LLC; in a lane as many rows as probes overlap.
const HEADER = 20;

function layout(trace, visible, withCallers) {
  const lanes = new Map();
  const laneOf = (cpu) => {
    const key = cpu === null ? -1 : cpu;
    if (!lanes.has(key)) lanes.set(key, { cpu: key, place: trace.places[key] ?? [null, null], items: [] });
    return lanes.get(key);
  };
  for (const probe of visible) laneOf(probe.cpu).items.push({ probe, start: probe.start, end: probe.end, waiting: false });
  if (withCallers)
    for (const probe of visible)
      if (probe.waits) laneOf(probe.callerCpu).items.push({ probe, start: probe.start, end: probe.end, waiting: true });
  const ordered = [...lanes.values()].sort(byPlace);
  let rows = 0;
  for (const lane of ordered) { lane.rows = pack(lane.items); rows += lane.rows; }
  return place(trace, ordered, rowHeight(rows));
}

const last = (value) => (value === null ? Infinity : value);
function byPlace(a, b) {
  const order = (x, y) => (x === y ? 0 : x < y ? -1 : 1);
  return order(last(a.place[0]), last(b.place[0])) || order(last(a.place[1]), last(b.place[1])) || a.cpu - b.cpu;
}

const rowHeight = (rows) => (rows <= 30 ? 24 : rows <= 90 ? 16 : rows <= 300 ? 11 : rows <= 1000 ? 7 : 4);
const rowGap = (height) => (height > 12 ? 4 : height > 5 ? 2 : 1);

// The lowest free row for each item by start: probes above those that wait. Two heaps, so that many rows cost little.
function pack(items) {
  items.sort((a, b) => a.start - b.start || a.end - b.end);
  let count = 0;
  for (const waiting of [false, true]) {
    const busy = new Heap(([end]) => end), free = new Heap((row) => row);
    let rows = 0;
    for (const item of items) {
      if (item.waiting !== waiting) continue;
      while (busy.size && busy.top[0] <= item.start) free.push(busy.pop()[1]);
      const row = free.size ? free.pop() : rows++;
      busy.push([Math.max(item.end, item.start + 1), row]);
      item.row = count + row;
    }
    count += rows;
  }
  return Math.max(1, count);
}

class Heap {
  constructor(key) { this.key = key; this.list = []; }
  get size() { return this.list.length; }
  get top() { return this.list[0]; }
  less(a, b) { return this.key(this.list[a]) < this.key(this.list[b]); }
  swap(a, b) { [this.list[a], this.list[b]] = [this.list[b], this.list[a]]; }
  push(value) {
    let at = this.list.push(value) - 1;
    for (let up = (at - 1) >> 1; at > 0 && this.less(at, up); at = up, up = (at - 1) >> 1) this.swap(at, up);
  }
  pop() {
    const least = this.list[0], last = this.list.pop();
    if (!this.list.length) return least;
    this.list[0] = last;
    for (let at = 0; ;) {
      let next = 2 * at + 1;
      if (next >= this.list.length) return least;
      if (next + 1 < this.list.length && this.less(next + 1, next)) next += 1;
      if (!this.less(next, at)) return least;
      this.swap(at, next);
      at = next;
    }
  }
}

function place(trace, lanes, height) {
  const groups = [];
  let y = 0;
  for (const lane of lanes) {
    const [node, llc] = lane.place;
    let group = groups[groups.length - 1];
    if (!group || group.node !== node) {
      group = { node, y, lanes: [] };
      groups.push(group);
      y += HEADER;
    }
    const before = group.lanes[group.lanes.length - 1];
    lane.newLlc = !before || before.place[1] !== llc;
    if (lane.newLlc && before) y += 4;
    lane.y = y;
    lane.height = Math.max(lane.rows * height + (height > 12 ? 4 : 2), 11);
    for (const item of lane.items) item.y = lane.y + (height > 12 ? 2 : 1) + item.row * height;
    y += lane.height;
    group.lanes.push(lane);
    group.bottom = y;
  }
  return { groups, lanes, rowHeight: height, height: y + 4 };
}
