// Curves as SVG, so that results can be looked at. One panel a quantity, one line a series: the medians, with a bar
// from the least to the most of the rounds at each point. x goes in equal steps, whatever its values. What has no order
// along x is drawn as columns instead.
// Pure.
import type { Spread } from './statistics.ts';

export interface Panel {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly x: readonly (string | number)[];
  /** One value for each of `x`. */
  readonly series: readonly { readonly name: string; readonly values: readonly Spread[] }[];
  /** A line across, such as a limit that was wanted. */
  readonly limit?: { readonly name: string; readonly value: number } | undefined;
  /** A column for each value instead of a line through them. */
  readonly isColumns?: boolean | undefined;
}

const WIDTH = 440;
const HEIGHT = 300;
const HEAD = 32;
const COLUMNS = 3;
const EDGE = { left: 70, right: 20, top: 54, bottom: 54 };
const LINE_HEIGHT = 24;
/** Told apart by those who see few colours, and by their marks in print. */
const COLOURS = ['#0b6e99', '#d9730d', '#6940a5', '#0f7b6c'];
/** A series' bars stand beside those of the others. */
const BESIDE = 7;
/** Of the room between two values of x, what their columns take together. */
const COLUMNS_SHARE = 0.7;
const TICKS = 5;

/** The panels side by side, three in a row. */
export function plot(title: string, panels: readonly Panel[]): string {
  const columns = Math.min(COLUMNS, panels.length);
  const width = WIDTH * columns;
  const height = HEAD + HEIGHT * Math.ceil(panels.length / columns);
  const drawn = panels.map((panel, index) => {
    const [left, top] = [WIDTH * (index % columns), HEAD + HEIGHT * Math.floor(index / columns)];
    return `<g transform="translate(${left} ${top})">\n${drawPanel(panel)}\n</g>\n`;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">\n` +
    `<title>${escaped(title)}</title>\n<rect width="100%" height="100%" fill="#fff"/>\n` +
    `${text(16, 22, title, 'start', 'font-size="15" font-weight="600"')}\n${drawn.join('')}</svg>\n`
  );
}

function drawPanel({ title, xLabel, yLabel, x, series, limit, isColumns }: Panel): string {
  const most = Math.max(
    ...series.flatMap(({ values }) => values.map((value) => value.most)),
    limit?.value ?? 0,
  );
  const step = niceStep(most / TICKS);
  const top = Math.ceil(most / step) * step || step;
  const right = WIDTH - EDGE.right;
  const bottom = HEIGHT - EDGE.bottom;
  const middle = (EDGE.top + bottom) / 2;
  const atX = (index: number) => round(EDGE.left + ((right - EDGE.left) * (index + 0.5)) / x.length);
  const atY = (value: number) => round(bottom - ((bottom - EDGE.top) * value) / top);
  const across = (y: number, how: string) =>
    `<line x1="${EDGE.left}" x2="${right}" y1="${y}" y2="${y}" ${how}/>`;
  const parts = [text(EDGE.left, 14, title, 'start', 'font-weight="600"')];
  for (let tick = 0; tick * step <= top + step / 2; tick += 1) {
    const y = atY(tick * step);
    parts.push(across(y, `stroke="${tick === 0 ? '#888' : '#e3e3e3'}"`));
    parts.push(text(EDGE.left - 6, y + 4, numberText(tick * step), 'end'));
  }
  for (const [index, label] of x.entries())
    parts.push(text(atX(index), bottom + 18, String(label), 'middle'));
  parts.push(text((EDGE.left + right) / 2, bottom + 38, xLabel, 'middle', 'fill="#555"'));
  parts.push(text(16, middle, yLabel, 'middle', `fill="#555" transform="rotate(-90 16 ${middle})"`));
  if (limit) {
    const y = atY(limit.value);
    parts.push(across(y, 'stroke="#c33" stroke-dasharray="5 4"'));
    parts.push(text(right, y - 5, limit.name, 'end', 'fill="#c33"'));
  }
  const columnWidth = ((right - EDGE.left) / x.length / series.length) * COLUMNS_SHARE;
  for (const [index, { name, values }] of series.entries()) {
    const colour = COLOURS[index % COLOURS.length]!;
    const aside = (index - (series.length - 1) / 2) * (isColumns ? columnWidth : BESIDE);
    const points = values.map((value, at) => ({ ...value, cx: round(atX(at) + aside) }));
    const line = points.map(({ cx, median }) => `${cx},${atY(median)}`).join(' ');
    if (!isColumns)
      parts.push(`<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const { cx, median, least, most } of points) {
      const stroke = `stroke="${isColumns ? '#222' : colour}" stroke-width="1.5" stroke-opacity="0.55"`;
      if (isColumns) parts.push(column(cx, atY(median), columnWidth, bottom, colour));
      else parts.push(mark(index, cx, atY(median), colour));
      parts.push(`<line x1="${cx}" x2="${cx}" y1="${atY(least)}" y2="${atY(most)}" ${stroke}/>`);
      if (isColumns) parts.push(text(cx, atY(most) - 4, numberText(median), 'middle', 'font-size="10"'));
    }
    const legendX = EDGE.left + (index * (right - EDGE.left)) / series.length;
    parts.push(mark(index, legendX + 5, LINE_HEIGHT + 8, colour));
    parts.push(text(legendX + 15, LINE_HEIGHT + 12, name, 'start'));
  }
  return parts.join('\n');
}

/** From the floor to `top`; what is below the floor has no height. */
function column(cx: number, top: number, width: number, floor: number, colour: string): string {
  const [x, height] = [round(cx - width / 2), round(Math.max(0, floor - top))];
  return `<rect class="column" x="${x}" y="${round(floor - height)}" width="${round(width)}" height="${height}" fill="${colour}"/>`;
}

/** A shape of its own for each series. */
function mark(index: number, x: number, y: number, colour: string): string {
  const size = 4;
  const shapes = [
    `<circle cx="${x}" cy="${y}" r="${size}" fill="${colour}"/>`,
    `<rect x="${x - size}" y="${y - size}" width="${2 * size}" height="${2 * size}" fill="${colour}"/>`,
    `<path d="M${x} ${y - 5}l5 9h-10z" fill="${colour}"/>`,
    `<path d="M${x} ${y - 5}l5 5l-5 5l-5 -5z" fill="${colour}"/>`,
  ];
  return shapes[index % shapes.length]!;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end', how = ''): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}"${how && ` ${how}`}>${escaped(content)}</text>`;
}

/** 1, 2 or 5 times a power of ten, not below `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least)!;
}

function numberText(value: number): string {
  return Number(value.toPrecision(6)).toLocaleString('en');
}

function round(value: number): number {
  return Number(value.toFixed(1));
}

function escaped(content: string): string {
  return content
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
