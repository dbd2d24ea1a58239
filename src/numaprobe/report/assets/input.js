// Mouse and keys of a chart. The page owns the view, so that every chart shows the same stretch of time.
function listen(chart) {
  const { box, canvas, axis, page } = chart;
  const at = (event) => { const r = canvas.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
  let drag = null;

  const down = (event) => {
    if (event.button !== 0) return;
    const [x] = at(event);
    drag = { x, y: event.clientY, from: { ...page.view }, select: event.shiftKey, moved: false, scroll: box.scrollTop };
    event.target.setPointerCapture(event.pointerId);
  };
  const move = (event) => {
    const [x, y] = at(event);
    if (!drag) { if (event.target === canvas) page.hover(chart, chart.hit(x, y), event); return; }
    if (Math.abs(x - drag.x) + Math.abs(event.clientY - drag.y) > 3) drag.moved = true;
    if (drag.select) { chart.selecting = [drag.x, x]; chart.draw(); return; }
    if (!drag.moved) return;
    canvas.classList.add("drag");
    const shift = ((drag.x - x) / (chart.width - GUTTER - 8)) * (drag.from.to - drag.from.from);
    page.show(drag.from.from + shift, drag.from.to + shift);
    box.scrollTop = drag.scroll + drag.y - event.clientY;
  };
  const up = (event) => {
    canvas.classList.remove("drag");
    if (!drag) return;
    const [x, y] = at(event);
    const { moved, select, x: begin } = drag;
    drag = null;
    chart.selecting = null;
    if (select && moved) page.show(chart.ns(Math.min(begin, x)), chart.ns(Math.max(begin, x)));
    else if (!moved && event.target === canvas) page.pick(chart, chart.hit(x, y), event);
    chart.draw();
  };
  for (const surface of [canvas, axis]) {
    surface.addEventListener("pointerdown", down);
    surface.addEventListener("pointermove", move);
    surface.addEventListener("pointerup", up);
    surface.addEventListener("pointercancel", () => { drag = null; chart.selecting = null; });
    surface.addEventListener("wheel", (event) => wheel(chart, event, at(event)[0]), { passive: false });
  }
  canvas.addEventListener("pointerleave", () => { if (!drag) page.hover(chart, null); });
  canvas.addEventListener("dblclick", (event) => page.fitProbe(chart, chart.hit(...at(event))));
  box.addEventListener("keydown", (event) => key(chart, event));
}

// Ctrl (or nothing to scroll) zooms at the pointer; sideways moves; else the page scrolls as it always does.
function wheel(chart, event, x) {
  const { page } = chart;
  const scrollable = chart.layout.height > chart.height || document.documentElement.scrollHeight > window.innerHeight + 4;
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : 0;
  if (sideways) page.pan((sideways / Math.max(1, chart.width - GUTTER)) * 1);
  else if (event.ctrlKey || event.metaKey || !scrollable) page.zoom(1.0015 ** event.deltaY, chart.ns(Math.max(GUTTER, x)));
  else return;
  event.preventDefault();
}

function key(chart, event) {
  const { page } = chart;
  const actions = {
    ArrowLeft: () => page.pan(-0.15), ArrowRight: () => page.pan(0.15),
    "+": () => page.zoom(0.7), "=": () => page.zoom(0.7), "-": () => page.zoom(1 / 0.7), "0": () => page.fit(),
    n: () => page.walk(chart, 1), p: () => page.walk(chart, -1),
    Enter: () => page.fitProbe(chart, chart.picked), Escape: () => page.letGo(),
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
  actions[event.key]();
  event.preventDefault();
}
