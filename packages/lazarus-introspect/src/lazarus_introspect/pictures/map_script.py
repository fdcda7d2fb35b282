"""Style and script of maps on a page: canvases that show the part in view, names that stay, values under the pointer."""

MAP_STYLE = """
.map { position: relative; margin: .5rem 0 0; font-size: .8125rem; color: var(--soft); }
.map-key { display: flex; gap: .5rem; align-items: center; min-height: 1.4rem; font-variant-numeric: tabular-nums; } .map-key canvas { width: 8rem; height: .7rem; border-radius: .2rem; }
.map-view { position: relative; overflow: auto; max-height: 36rem; border: 1px solid var(--line); border-radius: .35rem; cursor: crosshair; } .map-view canvas { position: sticky; display: block; left: 0; top: 0; }
.map-view:focus-visible, .map-small button:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
.map-size { position: absolute; left: 0; top: 0; pointer-events: none; }
.map-small { display: flex; flex-wrap: wrap; gap: .5rem; margin: .6rem 0; } .map-small button { padding: .25rem; font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: .35rem; cursor: pointer; } .map-small button[aria-pressed=true] { border-color: var(--mark); color: var(--ink); box-shadow: 0 0 0 1px var(--mark); } .map-small canvas { display: block; width: 5.5rem; height: 5.5rem; image-rendering: pixelated; }
.map .tip { max-width: 18rem; white-space: pre-wrap; }
"""
MAP_SCRIPT = r"""
const FONT = '12px system-ui, sans-serif', ROW = 22;
const colours = () => { const style = getComputedStyle(document.documentElement); return name => style.getPropertyValue('--' + name).trim(); };
const rgb = text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
const mix = (from, to, share) => from.map((each, at) => Math.round(each + (to[at] - each) * share));
const written = value => value === null ? 'no value' : value === 0 ? '0' : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
const number = value => value === null ? '' : Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.005) ? value.toExponential(0) : value.toFixed(2);
const bright = parts => { const [r, g, b] = parts.map(each => (each /= 255) <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const scaled = data => {
  const get = colours(), paper = rgb(get('paper')), mark = rgb(get('mark')), other = rgb(get('line1'));
  return value => {
    if (data.diverging) { const share = data.high ? value / data.high : 0; return mix(paper, share < 0 ? other : mark, Math.min(Math.abs(share), 1)); }
    return mix(paper, mark, Math.min(Math.max((value - data.low) / (data.high - data.low), 0), 1));
  };
};
const whole = (canvas, wide, high) => {
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * dense); canvas.height = Math.round(high * dense);
  canvas.style.width = wide + 'px'; canvas.style.height = high + 'px';
  const pen = canvas.getContext('2d'); pen.scale(dense, dense); pen.font = FONT; pen.textBaseline = 'middle'; return pen;
};
const fitted = (pen, text, wide) => {
  if (pen.measureText(text).width <= wide) return text;
  let low = 0, high = text.length;
  while (low < high) { const middle = (low + high + 1) >> 1; if (pen.measureText(text.slice(0, middle) + '\u2026').width <= wide) low = middle; else high = middle - 1; }
  return low ? text.slice(0, low) + '\u2026' : '';
};
function heat(figure, data) {
  const view = figure.querySelector('.map-view'), canvas = view.querySelector('canvas'), size = figure.querySelector('.map-size'), tip = figure.querySelector('.tip');
  const rows = data.rows.length, columns = data.columns.length;
  const cell = (kind, row, column) => data[kind] ? data[kind].distinct[data[kind].cells[row][column]] : null;
  let left = 0, top = 0, wide = 0, high = 0, stand = false, chosen = null;
  const measure = () => {
    const pen = canvas.getContext('2d'); pen.font = FONT;
    const width = figure.clientWidth - 3, longest = names => names.reduce((most, each) => Math.max(most, pen.measureText(each).width), 0);
    left = Math.ceil(Math.min(longest(data.rows) + 12, width * 0.34));
    const text = data.texts ? Math.min(Math.max(longest(data.texts.distinct.slice(0, 2000)) + 10, 34), 84) : 0;
    const fit = (width - left) / columns, label = longest(data.columns);
    wide = data.texts ? Math.max(text, Math.min(fit, 110)) : Math.min(Math.max(fit, rows * columns > 4000 ? 5 : 13), 64);
    high = data.texts ? ROW : Math.min(Math.max(420 / rows, rows > 120 ? 3 : 12), wide >= 40 ? ROW : Math.max(wide, 14));
    if (!data.texts && rows > 16) wide = Math.min(wide, Math.max(high * 1.6, 13));
    stand = label + 8 > wide;
    top = stand && wide >= 11 && !data.texts ? Math.ceil(Math.min(label + 12, 140)) : 22;
    if (data.texts) stand = false;
    view.style.maxWidth = left + wide * columns + 2 + 'px';
    size.style.width = left + wide * columns + 'px'; size.style.height = top + high * rows + 'px';
    view.style.height = Math.min(top + high * rows + (left + wide * columns > width + 1 ? 16 : 0) + 2, 576) + 'px';
  };
  const draw = () => {
    const pen = whole(canvas, view.clientWidth, view.clientHeight), get = colours(), colour = scaled(data), x0 = view.scrollLeft, y0 = view.scrollTop;
    const first = Math.max(0, Math.floor(x0 / wide)), last = Math.min(columns, Math.ceil((x0 + view.clientWidth - left) / wide));
    const begin = Math.max(0, Math.floor(y0 / high)), end = Math.min(rows, Math.ceil((y0 + view.clientHeight - top) / high));
    pen.save(); pen.beginPath(); pen.rect(left, top, view.clientWidth, view.clientHeight); pen.clip();
    for (let row = begin; row < end; row++) for (let column = first; column < last; column++) {
      const value = data.values[row][column], x = left + column * wide - x0, y = top + row * high - y0;
      if (value === null) continue;
      const back = colour(value); pen.fillStyle = `rgb(${back})`; pen.fillRect(x, y, wide + 0.4, high + 0.4);
      const text = data.texts ? cell('texts', row, column) : wide >= 38 && high >= 14 ? number(value) : '';
      if (text) { pen.fillStyle = bright(back) > 0.2 ? '#10151d' : '#ffffff'; pen.textAlign = 'center'; pen.fillText(fitted(pen, text, wide - 4), x + wide / 2, y + high / 2 + 0.5); }
    }
    if (chosen) { pen.strokeStyle = get('ink'); pen.lineWidth = 2; pen.strokeRect(left + chosen[1] * wide - x0 + 1, top + chosen[0] * high - y0 + 1, wide - 2, high - 2); }
    pen.restore(); pen.fillStyle = get('soft'); pen.save(); pen.beginPath(); pen.rect(0, top, left, view.clientHeight); pen.clip(); pen.textAlign = 'right';
    const down = Math.ceil(13 / high);
    for (let row = begin; row < end; row++) if (row % down == 0) pen.fillText(fitted(pen, data.rows[row], left - 10), left - 6, top + (row + 0.5) * high - y0);
    pen.restore(); pen.save(); pen.beginPath(); pen.rect(left, 0, view.clientWidth, top); pen.clip(); pen.fillStyle = get('soft');
    const apart = Math.ceil((stand ? top > 22 ? 13 : 44 : 13) / wide);
    for (let column = first; column < last; column++) if (column % apart == 0) {
      const x = left + (column + 0.5) * wide - x0;
      if (stand && top > 22) { pen.save(); pen.translate(x, top - 6); pen.rotate(-Math.PI / 2); pen.textAlign = 'left'; pen.fillText(fitted(pen, data.columns[column], top - 10), 0, 0.5); pen.restore(); }
      else { pen.textAlign = 'center'; pen.fillText(fitted(pen, data.columns[column], Math.max(wide * apart - 4, 12)), x, top / 2 + 1); }
    }
    pen.restore();
  };
  const hide = () => { tip.hidden = true; if (chosen) { chosen = null; draw(); } };
  const show = (row, column) => {
    chosen = [row, column]; draw();
    const more = cell('details', row, column), text = cell('texts', row, column);
    tip.textContent = [`${data.upwards ? data.upwards + ' ' : ''}${data.rows[row]}, ${data.across ? data.across + ' ' : ''}${data.columns[column]}`, text === null ? null : text, `${data.unit} ${written(data.values[row][column])}`, more].filter(each => each).join('\n');
    tip.hidden = false;
    const x = left + (column + 0.5) * wide - view.scrollLeft, y = view.offsetTop + top + (row + 1) * high - view.scrollTop + 6;
    tip.style.left = Math.max(0, Math.min(x - tip.offsetWidth / 2, figure.clientWidth - tip.offsetWidth)) + 'px'; tip.style.top = y + 'px';
  };
  const over = event => {
    const box = view.getBoundingClientRect(), x = event.clientX - box.left - view.clientLeft, y = event.clientY - box.top - view.clientTop;
    const column = Math.floor((x - left + view.scrollLeft) / wide), row = Math.floor((y - top + view.scrollTop) / high);
    if (x < left || y < top || row < 0 || row >= rows || column < 0 || column >= columns) hide();
    else if (!chosen || chosen[0] != row || chosen[1] != column) show(row, column);
  };
  const keys = event => {
    const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [-rows, -columns], End: [rows, columns]}[event.key];
    if (event.key == 'Escape') hide();
    if (!step) return;
    event.preventDefault();
    const [row, column] = chosen ? [chosen[0] + step[0], chosen[1] + step[1]] : event.key == 'End' ? [rows, columns] : [0, 0];
    const to = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)], x = to[1] * wide, y = to[0] * high;
    if (x < view.scrollLeft) view.scrollLeft = x; else if (x + wide > view.scrollLeft + view.clientWidth - left) view.scrollLeft = x + wide - view.clientWidth + left;
    if (y < view.scrollTop) view.scrollTop = y; else if (y + high > view.scrollTop + view.clientHeight - top) view.scrollTop = y + high - view.clientHeight + top;
    show(...to);
  };
  view.onpointermove = view.onpointerdown = over; view.onpointerleave = view.onblur = hide; view.onscroll = () => { tip.hidden = true; chosen = null; draw(); };
  view.onkeydown = keys;
  const again = () => { measure(); draw(); };
  again();
  return again;
}
function key(figure, data) {
  const place = figure.querySelector('.map-key'), bar = document.createElement('canvas'), colour = scaled(data);
  bar.width = 64; bar.height = 1;
  const pen = bar.getContext('2d'), low = data.diverging ? -data.high : data.low;
  for (let at = 0; at < 64; at++) { pen.fillStyle = `rgb(${colour(low + (data.high - low) * at / 63)})`; pen.fillRect(at, 0, 1, 1); }
  const ends = [low, data.high].map(value => { const made = document.createElement('span'); made.textContent = written(value); return made; });
  const unit = document.createElement('span'); unit.textContent = data.unit + (data.upwards && data.across ? `; rows: ${data.upwards}, columns: ${data.across}` : '');
  place.replaceChildren(ends[0], bar, ends[1], unit);
}
function grid(figure, data) {
  const names = Object.keys(data.groups), small = figure.querySelector('.map-small'), choose = figure.querySelector('.map-choose');
  const decoded = new Map(), rows = data.rows.length, columns = data.columns.length;
  const maps = name => {
    if (!decoded.has(name)) decoded.set(name, data.groups[name].maps.map(text => {
      const bytes = atob(text), found = [];
      for (let row = 0; row < rows; row++) { const line = []; for (let column = 0; column < columns; column++) line.push(data.low + (data.high - data.low) * bytes.charCodeAt(row * columns + column) / 255); found.push(line); }
      return found;
    }));
    return decoded.get(name);
  };
  let name = names[0], at = 0, again = () => {};
  const one = () => { again = heat(figure, {...data, values: maps(name)[at], texts: null, details: null}); [...small.children].forEach((each, place) => each.setAttribute('aria-pressed', place == at)); };
  const group = () => {
    const colour = scaled(data);
    small.replaceChildren(...maps(name).map((values, place) => {
      const button = document.createElement('button'), canvas = document.createElement('canvas'), label = document.createElement('span');
      button.type = 'button'; canvas.width = columns; canvas.height = rows; label.textContent = data.groups[name].names[place];
      const pen = canvas.getContext('2d'), image = pen.createImageData(columns, rows);
      values.forEach((line, row) => line.forEach((value, column) => image.data.set([...colour(value), 255], 4 * (row * columns + column))));
      pen.putImageData(image, 0, 0); button.append(canvas, label); button.onclick = () => { at = place; one(); };
      return button;
    }));
    one();
  };
  if (names.length > 1) {
    const label = document.createElement('label'), list = document.createElement('select');
    list.append(...names.map(each => { const made = document.createElement('option'); made.textContent = each; return made; }));
    list.onchange = () => { name = list.value; at = 0; group(); };
    label.append('Show', list); choose.append(label);
  }
  group();
  return () => { group(); again(); };
}
for (const figure of document.querySelectorAll('.map')) {
  const draw = () => {
    const data = JSON.parse(figure.querySelector('script').textContent), kind = {heat, grid}[figure.dataset.kind], again = kind(figure, data), both = () => { key(figure, data); again(); };
    key(figure, data);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', both);
    let width = figure.clientWidth;
    new ResizeObserver(() => { if (figure.clientWidth != width) { width = figure.clientWidth; both(); } }).observe(figure);
  };
  new IntersectionObserver((seen, watch) => { if (seen.some(each => each.isIntersecting)) { watch.disconnect(); draw(); } }, {rootMargin: '400px'}).observe(figure);
}
"""
"""It runs once after the body."""
