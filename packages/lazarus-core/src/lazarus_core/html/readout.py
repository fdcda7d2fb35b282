"""The script of the charts: values under the pointer, and under the arrow keys."""

READOUT = r"""
for (const plot of document.querySelectorAll('.plot')) {
  const {first, last, low, high, across} = plot.dataset, [x0, x1, y0, y1] = [first, last, low, high].map(Number);
  const series = [...plot.querySelectorAll('[data-points]')].map(path => ({
    name: path.dataset.name, colour: path.dataset.colour,
    points: path.dataset.points.split(';').map(text => text.split(',').map(Number)),
  }));
  const at = point => point.length > 2 ? (point[0] + point[1]) / 2 : point[0];
  const stops = [...new Set(series.flatMap(each => each.points.map(at)))].sort((a, b) => a - b);
  const share = x => x1 > x0 ? (x - x0) / (x1 - x0) : 0.5;
  const text = value => value.toLocaleString('en-US', Math.abs(value) < 1 ? {maximumSignificantDigits: 4} : {maximumFractionDigits: 4});
  const make = (name, parent) => { const made = document.createElement('div'); made.className = name; made.hidden = true; parent.append(made); return made; };
  const hair = make('hair', plot), dots = series.map(each => make('dot key' + each.colour, plot)), tip = make('tip', plot);
  tip.setAttribute('role', 'status');
  let shown = -1;
  const hide = () => { shown = -1; for (const each of [hair, tip, ...dots]) each.hidden = true; };
  const show = number => {
    shown = Math.min(Math.max(number, 0), stops.length - 1);
    const stop = stops[shown], place = 100 * share(stop);
    tip.replaceChildren();
    const head = tip.appendChild(document.createElement('div'));
    series.forEach((each, line) => {
      const near = each.points.reduce((a, b) => Math.abs(at(b) - stop) < Math.abs(at(a) - stop) ? b : a);
      const value = near[near.length - 1], row = tip.appendChild(document.createElement('div'));
      if (near.length > 2) head.textContent = near[1] - near[0] == 1 ? `${text(near[0])} ${across}` : `${text(near[0])} to ${text(near[1] - 1)} ${across}`;
      else head.textContent = `${across} ${text(stop)}`;
      if (series.length > 1) {
        const key = row.appendChild(document.createElement('i'));
        key.className = 'key key' + each.colour;
      }
      if (each.name) row.appendChild(document.createElement('span')).textContent = each.name;
      row.appendChild(document.createElement('b')).textContent = text(value) + (at(near) == stop ? '' : ` (${across} ${text(at(near))})`);
      dots[line].style.left = 100 * share(at(near)) + '%';
      dots[line].style.bottom = 100 * (value - y0) / (y1 - y0) + '%';
      dots[line].hidden = near.length > 2;
    });
    hair.hidden = tip.hidden = false;
    hair.style.left = place + '%';
    tip.style.left = place < 50 ? `calc(${place}% + 12px)` : 'auto';
    tip.style.right = place < 50 ? 'auto' : `calc(${100 - place}% + 12px)`;
  };
  const move = event => {
    const box = plot.getBoundingClientRect(), x = x0 + (event.clientX - box.left) / box.width * (x1 - x0);
    show(stops.reduce((best, stop, number) => Math.abs(stop - x) < Math.abs(stops[best] - x) ? number : best, 0));
  };
  plot.onpointermove = plot.onpointerdown = move;
  plot.onpointerleave = plot.onblur = hide;
  plot.onkeydown = event => {
    const far = Math.ceil(stops.length / 10);
    const step = {ArrowRight: 1, ArrowLeft: -1, PageUp: far, PageDown: -far, Home: -stops.length, End: stops.length}[event.key];
    if (event.key == 'Escape') hide();
    if (step === undefined) return;
    event.preventDefault();
    show(shown < 0 ? (step > 0 && event.key != 'End' ? 0 : event.key == 'Home' ? 0 : stops.length - 1) : shown + step);
  };
}
"""
"""It runs once after the body. Charts work without it; only the values of points are missing then."""
