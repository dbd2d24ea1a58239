// What the page holds: the JSON block, unpacked once into plain objects. Nothing in it is ever used as markup.
const FIELDS = ["device", "driver", "bus", "deviceNode", "cpu", "cpuNode", "comm", "start", "cost", "running", "runnable",
  "sleeping", "cpus", "remote", "callerCpu", "callerComm", "func", "memory", "result", "async", "nested", "attempt",
  "path", "locks", "segments"];
const TEXT_FIELDS = ["device", "driver", "bus", "comm", "callerComm", "func", "result", "path"];
const STATES = ["running", "runnable", "sleeping"];

function unpack() {
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const trace of data.traces) {
    trace.probes = trace.probes.map((row, index) => unpackProbe(row, index, trace, data.strings));
    trace.end = trace.probes.reduce((end, probe) => Math.max(end, probe.end), 1);
  }
  for (const run of data.runs)
    for (const finding of run.findings) finding.devices = new Set(finding.devices.map((id) => data.strings[id]));
  data.end = Math.max(...data.traces.map((trace) => trace.end));
  return data;
}

function unpackProbe(row, index, trace, strings) {
  const probe = { index, trace };
  FIELDS.forEach((name, column) => { probe[name] = row[column]; });
  for (const name of TEXT_FIELDS) if (probe[name] !== null) probe[name] = strings[probe[name]];
  if (probe.locks !== null) {
    const [total, more, ...named] = probe.locks;
    const text = (id) => (id === null ? null : strings[id]);
    probe.locks = { total, more, named: named.map(([lock, holder, times, ns]) => ({ lock: text(lock), holder: text(holder), times, ns })) };
  }
  probe.timed = probe.start !== null;
  probe.start ??= 0;
  probe.end = probe.start + probe.cost;
  probe.away = probe.deviceNode !== null && probe.deviceNode >= 0 && probe.cpuNode !== null && probe.cpuNode !== probe.deviceNode;
  probe.waits = probe.callerCpu !== null && !(probe.callerCpu === probe.cpu && probe.callerComm === probe.comm);
  return probe;
}

function formatTime(ns) {
  if (ns === null || ns === undefined) return "unknown";
  const size = Math.abs(ns);
  if (size >= 1e9) return (ns / 1e9).toFixed(3) + " s";
  if (size >= 1e6) return (ns / 1e6).toFixed(3) + " ms";
  if (size >= 1e3) return (ns / 1e3).toFixed(3) + " µs";
  return Math.round(ns) + " ns";
}

function formatSize(bytes) {
  for (const [unit, scale] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
    if (bytes >= scale) return Number((bytes / scale).toPrecision(4)) + " " + unit;
  return bytes + " B";
}

function formatTick(ns, step) {
  const [unit, scale] = step >= 1e9 ? ["s", 1e9] : step >= 1e6 ? ["ms", 1e6] : step >= 1e3 ? ["µs", 1e3] : ["ns", 1];
  return Number((ns / scale).toFixed(3)) + " " + unit;
}
