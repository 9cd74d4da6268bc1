/** Line plots as SVG, on a white ground, with the clients on a logarithmic axis. */

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly yScale: 'linear' | 'logarithmic';
  readonly series: readonly Series[];
}

const WIDTH = 640;
const HEIGHT = 380;
const LEFT = 76;
const RIGHT = 20;
const TOP = 78;
const BOTTOM = 50;
/** Distinct without colour sight too (Okabe and Ito). */
const COLORS = ['#0072b2', '#009e73', '#d55e00', '#cc79a7'] as const;
const MARKS = ['circle', 'square', 'diamond', 'circle'] as const;

/** A document. Every series has at least one point, every value is above 0. */
export function renderPlot({ title, xLabel, yLabel, yScale, series }: Plot): string {
  const points = series.flatMap((one) => one.points);
  const xs = [...new Set(points.map(({ x }) => x))].toSorted((a, b) => a - b);
  const ticks =
    yScale === 'linear' ? linearTicks(Math.max(...points.map(({ y }) => y))) : decadeTicks(points.map(({ y }) => y));
  const [low, high] = [ticks[0] as number, ticks.at(-1) as number];
  const xAt = (x: number): number => {
    const [first, last] = [Math.log(xs[0] as number), Math.log(xs.at(-1) as number)];
    const share = first === last ? 0.5 : (Math.log(x) - first) / (last - first);
    return LEFT + share * (WIDTH - LEFT - RIGHT);
  };
  const yAt = (y: number): number => {
    const share = yScale === 'linear' ? (y - low) / (high - low) : Math.log(y / low) / Math.log(high / low);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  };
  const lines = ticks.map((tick) => {
    const y = round(yAt(tick));
    return `<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#ddd"/>${label(LEFT - 8, y + 4, compact(tick), 'end')}`;
  });
  const columns = xs.map((x) => label(xAt(x), HEIGHT - BOTTOM + 20, String(x), 'middle'));
  const drawn = series.map((one, i) => {
    const color = COLORS[i % COLORS.length] as string;
    const path = one.points.map(({ x, y }, j) => `${j === 0 ? 'M' : 'L'}${round(xAt(x))} ${round(yAt(y))}`).join('');
    const marks = one.points.map(({ x, y }) => mark(i, round(xAt(x)), round(yAt(y)), color)).join('');
    return `<path d="${path}" fill="none" stroke="${color}" stroke-width="2"/>${marks}`;
  });
  const legend = series.map(({ name }, i) => {
    const x = LEFT + i * ((WIDTH - LEFT - RIGHT) / series.length);
    return `${mark(i, x + 5, 52, COLORS[i % COLORS.length] as string)}${label(x + 15, 56, name, 'start')}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="${LEFT}" y="28" font-size="15" font-weight="600" fill="#111">${escape(title)}</text>`,
    ...legend,
    ...lines,
    ...columns,
    label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, xLabel, 'middle'),
    `<text transform="translate(16 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle" fill="#444">${escape(yLabel)}</text>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

/** From 0 to at least `max` in steps of 1, 2 or 5 times a power of ten. */
function linearTicks(max: number): number[] {
  const rough = max / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) as number) * power;
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, i) => i * step);
}

/** Powers of ten around all values. */
function decadeTicks(values: readonly number[]): number[] {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
}

function mark(series: number, x: number, y: number, color: string): string {
  const kind = MARKS[series % MARKS.length];
  if (kind === 'circle') return `<circle cx="${x}" cy="${y}" r="4" fill="${color}"/>`;
  const turn = kind === 'diamond' ? ` transform="rotate(45 ${x} ${y})"` : '';
  return `<rect x="${x - 3.5}" y="${y - 3.5}" width="7" height="7" fill="${color}"${turn}/>`;
}

function label(x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="#444">${escape(text)}</text>`;
}

function compact(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1000 ? `${value / 1000} k` : String(Number(value.toPrecision(3)));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
