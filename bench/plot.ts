// Curves as SVG, so that results can be looked at. One panel a quantity, one line a series, x in equal steps.
// Pure.

export interface Panel {
  readonly title: string;
  readonly xLabel: string;
  readonly x: readonly (string | number)[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
  /** A line across, such as a limit that was wanted. */
  readonly limit?: { readonly name: string; readonly value: number } | undefined;
}

const WIDTH = 420;
const HEIGHT = 280;
const EDGE = { left: 56, right: 16, top: 40, bottom: 46 };
const COLOURS = ['#0b6e99', '#d9730d', '#6940a5', '#0f7b6c'];
const TICKS = 4;

/** The panels side by side. */
export function plot(title: string, panels: readonly Panel[]): string {
  const width = WIDTH * panels.length;
  const drawn = panels.map(
    (panel, index) => `<g transform="translate(${index * WIDTH} 28)">${draw(panel)}</g>`,
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${HEIGHT + 28}" ` +
    `viewBox="0 0 ${width} ${HEIGHT + 28}" font-family="system-ui, sans-serif" font-size="12" fill="#222">` +
    `<rect width="100%" height="100%" fill="#fff"/>` +
    `<text x="16" y="22" font-size="15" font-weight="600">${escaped(title)}</text>${drawn.join('')}</svg>\n`
  );
}

function draw({ title, xLabel, x, series, limit }: Panel): string {
  const most = Math.max(...series.flatMap(({ values }) => values), limit?.value ?? 0);
  const step = niceStep(most / TICKS);
  const top = Math.ceil(most / step) * step;
  const right = WIDTH - EDGE.right;
  const bottom = HEIGHT - EDGE.bottom;
  const atX = (index: number) => EDGE.left + ((right - EDGE.left) * (index + 0.5)) / x.length;
  const atY = (value: number) => bottom - ((bottom - EDGE.top) * value) / top;
  const parts = [`<text x="${EDGE.left}" y="18" font-weight="600">${escaped(title)}</text>`];
  for (let value = 0; value <= top + step / 2; value += step) {
    const y = atY(value);
    parts.push(`<line x1="${EDGE.left}" x2="${right}" y1="${y}" y2="${y}" stroke="#ddd"/>`);
    parts.push(
      `<text x="${EDGE.left - 6}" y="${y + 4}" text-anchor="end">${Number(value.toPrecision(6))}</text>`,
    );
  }
  for (const [index, label] of x.entries()) {
    parts.push(
      `<text x="${atX(index)}" y="${bottom + 18}" text-anchor="middle">${escaped(String(label))}</text>`,
    );
  }
  parts.push(
    `<text x="${(EDGE.left + right) / 2}" y="${bottom + 38}" text-anchor="middle">${escaped(xLabel)}</text>`,
  );
  if (limit) {
    const y = atY(limit.value);
    parts.push(
      `<line x1="${EDGE.left}" x2="${right}" y1="${y}" y2="${y}" stroke="#c33" stroke-dasharray="5 4"/>`,
    );
    parts.push(`<text x="${right}" y="${y - 4}" text-anchor="end" fill="#c33">${escaped(limit.name)}</text>`);
  }
  for (const [index, { name, values }] of series.entries()) {
    const colour = COLOURS[index % COLOURS.length]!;
    const points = values.map((value, at) => `${atX(at)},${atY(value)}`);
    parts.push(`<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const point of points) {
      const [cx, cy] = point.split(',');
      parts.push(`<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`);
    }
    const legendX = EDGE.left + index * 110;
    parts.push(`<rect x="${legendX}" y="${EDGE.top - 14}" width="10" height="3" fill="${colour}"/>`);
    parts.push(`<text x="${legendX + 15}" y="${EDGE.top - 9}">${escaped(name)}</text>`);
  }
  return parts.join('');
}

/** 1, 2 or 5 times a power of ten, not below `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least)!;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
