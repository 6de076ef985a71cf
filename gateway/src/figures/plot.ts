// Curves as SVG, so that results can be looked at. One panel a quantity, one line a series. Two sorts of panels: values
// at named places, in equal steps (medians, with a bar from the least to the most of the rounds; columns where x has no
// order), and points over numbers, by their size or its logarithm (time series, clouds of samples, curves).
// Pure.
import { type Axis, axisOf, linearAxis, numberText, type Scale, stepAxis } from './axis.ts';
import type { Spread } from './statistics.ts';

interface PanelTexts {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Default linear, from 0. A logarithmic one leaves out what is not above 0. */
  readonly yScale?: Scale | undefined;
  /** A line across, such as a limit that was wanted. */
  readonly limit?: { readonly name: string; readonly value: number } | undefined;
}

/** Values at named places, which stand in equal steps. */
export interface Panel extends PanelTexts {
  readonly x: readonly (string | number)[];
  /** One value for each of `x`. */
  readonly series: readonly { readonly name: string; readonly values: readonly Spread[] }[];
  /** A column for each value instead of a line through them. */
  readonly isColumns?: boolean | undefined;
}

/** Points over numbers, each where its own x is. */
export interface NumericPanel extends PanelTexts {
  readonly xScale: Scale;
  readonly series: readonly PointSeries[];
}

export interface PointSeries {
  readonly name: string;
  readonly points: readonly Point[];
  /** `marks`: a line through a mark for each point, with bars. `line`: without them. `dots`: a cloud of points. */
  readonly style: 'marks' | 'line' | 'dots';
}

export interface Point {
  readonly x: number;
  readonly y: number | Spread;
}

const WIDTH = 440;
const HEIGHT = 300;
const HEAD = 32;
const COLUMNS = 3;
const EDGE = { left: 70, right: 20, top: 54, bottom: 54 };
const RIGHT = WIDTH - EDGE.right;
const BOTTOM = HEIGHT - EDGE.bottom;
const LINE_HEIGHT = 24;
/** Of the labels, with a gap between two, about. */
const LETTER_WIDTH = 6.8;
/** Told apart by those who see few colours, and by their marks in print. */
const COLOURS = ['#0b6e99', '#d9730d', '#6940a5', '#0f7b6c'];
/** A series' bars stand beside those of the others. */
const BESIDE = 7;
/** Of the room between two values of x, what their columns take together. */
const COLUMNS_SHARE = 0.7;

/** A series with everything in its place: coordinates within a panel. */
interface Placed {
  readonly name: string;
  readonly style: PointSeries['style'] | 'columns';
  readonly points: readonly PlacedPoint[];
}

interface PlacedPoint {
  readonly x: number;
  readonly y: number;
  readonly least: number;
  readonly most: number;
  readonly value: number;
}

/** The panels side by side, three in a row. */
export function plot(title: string, panels: readonly (Panel | NumericPanel)[]): string {
  const columns = Math.min(COLUMNS, panels.length);
  const width = WIDTH * columns;
  const height = HEAD + HEIGHT * Math.ceil(panels.length / columns);
  const drawn = panels.map((panel, index) => {
    const [left, top] = [WIDTH * (index % columns), HEAD + HEIGHT * Math.floor(index / columns)];
    const inside = 'xScale' in panel ? drawNumeric(panel) : drawSteps(panel);
    return `<g transform="translate(${left} ${top})">\n${inside}\n</g>\n`;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">\n` +
    `<title>${escaped(title)}</title>\n<rect width="100%" height="100%" fill="#fff"/>\n` +
    `${text(16, 22, title, 'start', 'font-size="15" font-weight="600"')}\n${drawn.join('')}</svg>\n`
  );
}

function drawSteps(panel: Panel): string {
  const { x, series, isColumns = false } = panel;
  const across = stepAxis(x);
  const up = upAxis(
    panel,
    series.flatMap(({ values }) => values),
  );
  const columnWidth = ((RIGHT - EDGE.left) / x.length / series.length) * COLUMNS_SHARE;
  const placed = series.map(({ name, values }, index): Placed => {
    const aside = (index - (series.length - 1) / 2) * (isColumns ? columnWidth : BESIDE);
    const points = values.map((value, at) => placedPoint(round(toX(across, at) + aside), up, value));
    return { name, style: isColumns ? 'columns' : 'marks', points: points.filter(hasPlace) };
  });
  return drawPanel(panel, across, up, placed, columnWidth);
}

function drawNumeric(panel: NumericPanel): string {
  const { xScale, series } = panel;
  const [least, most] = rangeOf(
    series.flatMap(({ points }) => points.map(({ x }) => x)),
    xScale,
  );
  const across = axisOf(xScale, least, most);
  const up = upAxis(
    panel,
    series.flatMap(({ points }) => points.map(({ y }) => spread(y))),
  );
  const placed = series.map(({ name, style, points }): Placed => {
    const all = points.map(({ x, y }) => placedPoint(round(toX(across, x)), up, spread(y)));
    return { name, style, points: all.filter(hasPlace) };
  });
  return drawPanel(panel, across, up, placed, 0);
}

function upAxis({ yScale = 'linear', limit }: PanelTexts, values: readonly Spread[]): Axis {
  const all = [...values.flatMap(({ median, least, most }) => [median, least, most]), limit?.value ?? 0];
  const [least, most] = rangeOf(all, yScale);
  return yScale === 'log' ? axisOf('log', least, most) : linearAxis(0, Math.max(0, most));
}

function drawPanel(
  { title, xLabel, yLabel, limit }: PanelTexts,
  across: Axis,
  up: Axis,
  series: readonly Placed[],
  columnWidth: number,
): string {
  const middle = (EDGE.top + BOTTOM) / 2;
  const horizontal = (y: number, how: string) =>
    `<line x1="${EDGE.left}" x2="${RIGHT}" y1="${y}" y2="${y}" ${how}/>`;
  const parts = [text(EDGE.left, 14, title, 'start', 'font-weight="600"')];
  for (const { value, label } of up.ticks) {
    const y = round(toY(up, value));
    if (y !== BOTTOM) parts.push(horizontal(y, 'stroke="#e3e3e3"'));
    parts.push(text(EDGE.left - 6, y + 4, label, 'end'));
  }
  parts.push(horizontal(BOTTOM, 'stroke="#888"'));
  const isTight = areTight(across);
  for (const [index, { value, label }] of across.ticks.entries()) {
    const y = BOTTOM + 18 + (isTight && index % 2 === 1 ? 13 : 0);
    parts.push(text(round(toX(across, value)), y, label, 'middle'));
  }
  parts.push(text((EDGE.left + RIGHT) / 2, BOTTOM + (isTight ? 46 : 38), xLabel, 'middle', 'fill="#555"'));
  parts.push(text(16, middle, yLabel, 'middle', `fill="#555" transform="rotate(-90 16 ${middle})"`));
  for (const [index, one] of series.entries()) {
    parts.push(...drawSeries(one, index, columnWidth));
    const legendX = round(EDGE.left + (index * (RIGHT - EDGE.left)) / series.length);
    parts.push(mark(index, legendX + 5, LINE_HEIGHT + 8));
    parts.push(text(legendX + 15, LINE_HEIGHT + 12, one.name, 'start'));
  }
  // Over what it limits.
  if (limit) {
    const y = round(toY(up, limit.value));
    parts.push(horizontal(y, 'stroke="#c33" stroke-dasharray="5 4"'));
    parts.push(text(RIGHT, y - 5, limit.name, 'end', 'fill="#c33"'));
  }
  return parts.join('\n');
}

function drawSeries({ style, points }: Placed, index: number, columnWidth: number): string[] {
  const colour = colourOf(index);
  if (style === 'dots') return points.length === 0 ? [] : [cloud(points, colour)];
  const parts: string[] = [];
  if (style !== 'columns') {
    const line = points.map(({ x, y }) => `${x},${y}`).join(' ');
    parts.push(`<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>`);
  }
  if (style === 'line') return parts;
  for (const { x, y, least, most, value } of points) {
    const isColumn = style === 'columns';
    const stroke = `stroke="${isColumn ? '#222' : colour}" stroke-width="1.5" stroke-opacity="0.55"`;
    parts.push(isColumn ? column(x, y, columnWidth, colour) : mark(index, x, y));
    parts.push(`<line x1="${x}" x2="${x}" y1="${least}" y2="${most}" ${stroke}/>`);
    if (isColumn) parts.push(text(x, most - 4, numberText(value), 'middle', 'font-size="10"'));
  }
  return parts;
}

/** Thousands of points as one path: dots are strokes without length, with round ends. */
function cloud(points: readonly PlacedPoint[], colour: string): string {
  const path = points.map(({ x, y }) => `M${x} ${y}h0`).join('');
  return `<path class="cloud" d="${path}" stroke="${colour}" stroke-width="3" stroke-linecap="round" stroke-opacity="0.35"/>`;
}

/** From the floor to `top`; what is below the floor has no height. */
function column(cx: number, top: number, width: number, colour: string): string {
  const [x, height] = [round(cx - width / 2), round(Math.max(0, BOTTOM - top))];
  return `<rect class="column" x="${x}" y="${round(BOTTOM - height)}" width="${round(width)}" height="${height}" fill="${colour}"/>`;
}

/** A shape of its own for each series. */
function mark(index: number, x: number, y: number): string {
  const size = 4;
  const colour = colourOf(index);
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

function placedPoint(x: number, up: Axis, { median, least, most }: Spread): PlacedPoint {
  const place = (value: number) => round(toY(up, value));
  return { x, y: place(median), least: place(least), most: place(most), value: median };
}

function hasPlace({ x, y, least, most }: PlacedPoint): boolean {
  return [x, y, least, most].every(Number.isFinite);
}

/** Whether names side by side would run into each other: then every second one stands a line lower. */
function areTight({ ticks, at }: Axis): boolean {
  return ticks.some(({ value, label }, index) => {
    const next = ticks[index + 1];
    if (!next) return false;
    const room = (RIGHT - EDGE.left) * Math.abs(at(next.value) - at(value));
    return ((label.length + next.label.length) / 2) * LETTER_WIDTH > room;
  });
}

/** Of what has a place on such an axis; two limits that make one where nothing has. */
function rangeOf(values: readonly number[], scale: Scale): [least: number, most: number] {
  let least = Infinity;
  let most = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || (scale === 'log' && value <= 0)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return least <= most ? [least, most] : [1, 1];
}

function toX(axis: Axis, value: number): number {
  return EDGE.left + (RIGHT - EDGE.left) * axis.at(value);
}

function toY(axis: Axis, value: number): number {
  return BOTTOM - (BOTTOM - EDGE.top) * axis.at(value);
}

function spread(value: number | Spread): Spread {
  return typeof value === 'number' ? { median: value, least: value, most: value } : value;
}

function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length]!;
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
