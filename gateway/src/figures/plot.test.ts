// The drawing of curves: well-formed whatever the names and values are, and each mark where its value is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type NumericPanel, type Panel, plot } from './plot.ts';
import { type Spread, spreadOf } from './statistics.ts';

const at = (median: number): Spread => ({ median, least: median, most: median });

function panel(values: readonly Spread[], more: Partial<Panel> = {}): Panel {
  return {
    title: 'Speed',
    xLabel: 'clients',
    yLabel: 'ms',
    x: values.map((_, index) => index),
    series: [{ name: 'a', values }],
    ...more,
  };
}

/** What people write; but for what must not stand in a picture, where it would be a number of ours. */
const words = fc.string().filter((text) => !/NaN|Infinity/.test(text));

/** Over numbers of any size, with values that have no place on a logarithmic axis. */
function numericPanels(): fc.Arbitrary<NumericPanel[]> {
  const scale = fc.constantFrom('linear' as const, 'log' as const);
  const value = fc.oneof(
    fc.constant(0),
    fc.constant(Number.NaN),
    fc.double({ min: 1e-5, max: 1e9, noNaN: true }),
  );
  const points = fc.array(fc.record({ x: value, y: value }), { maxLength: 6 });
  const style = fc.constantFrom('marks' as const, 'line' as const, 'dots' as const);
  return fc.array(
    fc.record({
      title: words,
      xLabel: words,
      yLabel: words,
      xScale: scale,
      yScale: scale,
      series: fc.array(fc.record({ name: words, points, style }), { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 3 },
  );
}

/** Throws unless every tag is closed in order and every attribute is quoted. */
function checkWellFormed(svg: string): void {
  const open: string[] = [];
  const tags = /<(\/?)([a-z]+)((?: [\w-]+="[^"<]*")*)(\/?)>/g;
  for (const [, closes, name, , alone] of svg.matchAll(tags)) {
    if (closes) assert.equal(open.pop(), name);
    else if (!alone) open.push(name!);
  }
  assert.deepEqual(open, []);
  assert.ok(!/[<>]/.test(svg.replaceAll(tags, '')), 'a bare < or > is left');
  assert.ok(!/&(?!amp;|lt;|gt;|quot;)/.test(svg), 'a bare & is left');
}

test('whatever the names and values, the picture is well-formed and every mark is inside', () => {
  const value = fc.double({ min: 0, max: 1e7, noNaN: true });
  const spread = fc.array(value, { minLength: 1, maxLength: 5 }).map((all) => spreadOf(all, 2));
  const panels = fc.array(
    fc.record({
      title: words,
      xLabel: words,
      yLabel: words,
      x: fc.constant([1, 'two', 4]),
      series: fc.array(fc.record({ name: words, values: fc.array(spread, { minLength: 3, maxLength: 3 }) }), {
        minLength: 1,
        maxLength: 4,
      }),
      limit: fc.option(fc.record({ name: words, value }), { nil: undefined }),
      isColumns: fc.boolean(),
    }),
    { minLength: 1, maxLength: 7 },
  );
  fc.assert(
    fc.property(words, panels, numericPanels(), (title, steps, numeric) => {
      const svg = plot(title, [...steps, ...numeric]);
      checkWellFormed(svg);
      assert.ok(!svg.includes('NaN') && !svg.includes('Infinity'));
      for (const [, coordinate] of svg.matchAll(/ (?:cx|cy|x1|x2|y1|y2)="([^"]+)"/g)) {
        assert.ok(Number(coordinate) >= 0 && Number(coordinate) <= 440, coordinate);
      }
      for (const [, points] of svg.matchAll(/<polyline points="([^"]+)"/g)) {
        for (const coordinate of points!.split(/[ ,]/).map(Number))
          assert.ok(coordinate >= 0 && coordinate <= 440, points);
      }
    }),
    { numRuns: 60 },
  );
});

test('twice the value is drawn twice as high, and nothing is the floor', () => {
  const svg = plot('t', [panel([at(0), at(50), at(100)])]);
  const heights = [.../<polyline points="([^"]+)"/.exec(svg)![1]!.matchAll(/,([\d.]+)/g)].map(([, y]) =>
    Number(y),
  );
  const [floor, half, top] = heights as [number, number, number];
  assert.ok(Math.abs(floor - half - (half - top)) < 0.3, heights.join());
  const [axis] = /y1="([\d.]+)" y2="\1" stroke="#888"/.exec(svg)!.slice(1);
  assert.equal(Number(axis), floor);
});

test('a bar goes from the least to the most', () => {
  const svg = plot('t', [panel([{ median: 50, least: 25, most: 100 }])]);
  const [, y1, y2] = /y1="([\d.]+)" y2="([\d.]+)" stroke="#0b6e99"/.exec(svg)!.map(Number);
  const [, middle] = /points="[\d.]+,([\d.]+)"/.exec(svg)!.map(Number);
  assert.ok(y1! > middle! && middle! > y2!, 'least below, most above');
  assert.ok(Math.abs((y1! - middle!) * 2 - (middle! - y2!)) < 0.3);
});

test('columns stand on the floor, beside each other, as high as their values, which are written above', () => {
  const series = [
    { name: 'a', values: [at(50), at(0), at(-3)] },
    { name: 'b', values: [at(100), at(25), at(75)] },
  ];
  const svg = plot('t', [panel([at(1), at(1), at(1)], { series, isColumns: true })]);
  const shape = /<rect class="column" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g;
  const columns = [...svg.matchAll(shape)].map(([, ...numbers]) => numbers.map(Number));
  assert.equal(columns.length, 6);
  const floor = Number(/y1="([\d.]+)" y2="\1" stroke="#888"/.exec(svg)![1]);
  const heights = columns.map(([, y, , height]) => {
    assert.ok(Math.abs(y! + height! - floor) < 0.15, `${y} and ${height} do not meet the floor`);
    return height!;
  });
  const [half, none, negative, whole, quarter] = heights as [number, number, number, number, number];
  assert.ok(Math.abs(whole - 2 * half) < 0.3 && Math.abs(half - 2 * quarter) < 0.3, heights.join());
  assert.deepEqual([none, negative], [0, 0]);
  const across = columns.map(([x, , width]) => [x!, x! + width!] as const).sort((a, b) => a[0] - b[0]);
  for (const [index, [from]] of across.entries())
    if (index > 0) assert.ok(from >= across[index - 1]![1] - 0.2, 'one covers another');
  for (const value of ['100', '25', '75']) assert.ok(svg.includes(`>${value}</text>`), value);
  assert.ok(!svg.includes('<polyline'));
});

test('axes, legend and limit are named, and every series has a mark of its own', () => {
  const series = ['Sluice', "llama.cpp's server"].map((name) => ({ name, values: [at(1), at(2)] }));
  const svg = plot('A title', [
    panel([at(1), at(2)], { series, x: [4, 8], limit: { name: 'a stutter', value: 500 } }),
  ]);
  for (const name of [
    'A title',
    'Speed',
    'clients',
    'ms',
    'Sluice',
    "llama.cpp's server",
    'a stutter',
    '4',
    '8',
  ]) {
    assert.ok(svg.includes(`>${name}</text>`), name);
  }
  assert.equal(svg.match(/<circle/g)?.length, 3, 'two points and the legend');
  assert.equal(svg.match(/<rect x=/g)?.length, 3);
});

test('panels go into rows of three', () => {
  const size = (count: number) => {
    const svg = plot(
      't',
      Array.from({ length: count }, () => panel([at(1)])),
    );
    return /width="(\d+)" height="(\d+)"/.exec(svg)!.slice(1).map(Number);
  };
  const [width, height] = size(3);
  assert.deepEqual(size(5), [width!, height! * 2 - 32]);
  assert.equal(size(1)[0]! * 3, width);
});

function numeric(more: Partial<NumericPanel> & Pick<NumericPanel, 'series'>): NumericPanel {
  return { title: 'Waiting', xLabel: 's', yLabel: 'calls', xScale: 'linear', ...more };
}

test('over numbers, a point stands where its x is: by its size, or by its logarithm', () => {
  const xs = (xScale: 'linear' | 'log') => {
    const points = [1, 10, 100].map((x) => ({ x, y: 1 }));
    const svg = plot('t', [numeric({ xScale, series: [{ name: 'a', style: 'line', points }] })]);
    return [.../<polyline points="([^"]+)"/.exec(svg)![1]!.matchAll(/([\d.]+),/g)].map(([, x]) => Number(x));
  };
  const [one, ten, hundred] = xs('linear') as [number, number, number];
  assert.ok(Math.abs((ten - one) * 10 - (hundred - ten)) < 1.5, 'nine steps and ninety');
  const [first, second, third] = xs('log') as [number, number, number];
  assert.ok(Math.abs(second - first - (third - second)) < 0.3, 'ten times is ten times');
});

test('a logarithmic axis up names powers of ten, and leaves out what has no logarithm', () => {
  const points = [0, 1, 10_000].map((y, x) => ({ x, y }));
  const svg = plot('t', [numeric({ yScale: 'log', series: [{ name: 'a', style: 'line', points }] })]);
  for (const label of ['1', '10', '100', '1,000', '10,000'])
    assert.ok(svg.includes(`>${label}</text>`), label);
  assert.equal(/<polyline points="([^"]+)"/.exec(svg)![1]!.split(' ').length, 2);
});

test('a line has no marks, marks have bars, and a cloud is one path with all its points', () => {
  const points = [1, 2, 3].map((x) => ({ x, y: { median: 2, least: 1, most: 3 } }));
  const series = (['line', 'marks', 'dots'] as const).map((style) => ({ name: style, style, points }));
  const svg = plot('t', [numeric({ series })]);
  assert.equal(svg.match(/<polyline/g)?.length, 2);
  assert.equal(svg.match(/<rect x=/g)?.length, 4, 'three marks of the second series, and its legend');
  assert.equal(svg.match(/stroke-opacity="0.55"/g)?.length, 3, 'bars');
  assert.equal(/class="cloud" d="([^"]+)"/.exec(svg)![1]!.match(/M/g)?.length, 3);
});
