// What a reader feels of a stream, over real sockets: silences are told by the report and the metrics, and bursts leave
// evenly where a model asks for it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { metric, post } from './harness.ts';

const BURST_MS = 250;
const BURST = 12;
const fake = { kind: 'fake', first_token_ms: 2, token_ms: 2 };

let server: InProcessServer;
before(async () => {
  server = await startInProcess({
    backends: [
      { ...fake, id: 'slow', token_ms: 600, pieces: ['one ', 'two ', 'three'] },
      { ...fake, id: 'breaks', pieces: ['one ', 'two'], fail_after: 1 },
      { ...fake, id: 'late', pieces: ['one ', 'two'], first_token_ms: 700 },
      { ...fake, id: 'bursts', token_ms: BURST_MS, burst: BURST, pieces: Array(5 * BURST).fill('word ') },
    ],
    models: [
      { id: 'slow', backends: ['slow'] },
      { id: 'broken', backends: ['breaks', 'late'] },
      { id: 'jerky', backends: ['bursts'] },
      { id: 'smooth', backends: ['bursts'], pacing: true },
    ],
  });
});
after(() => server?.close());

const ask = (model: string, rest: object = {}) =>
  post(
    `${server.url}/v1/chat/completions`,
    { model, stream: true, messages: [{ role: 'user', content: 'hi' }], ...rest },
    { headers: { 'x-sluice-report': '1' } },
  );
const reportIn = (text: string) => JSON.parse(/"sluice":(\{[^}]*\})/.exec(text)![1]!);

test('a silence over half a second is a stutter of its model and back end; who takes the answer whole hears none', async () => {
  const { stutters, longest_gap_ms: longest } = reportIn(await (await ask('slow')).text());
  assert.equal(stutters, 2);
  assert.ok(longest > 500);
  const whole = reportIn(await (await ask('slow', { stream: false })).text());
  assert.deepEqual([whole.stutters, whole.longest_gap_ms], [0, 0]);
  assert.equal(await metric(server.url, 'sluice_stutters_total{model="slow",backend="slow"}'), 2);
  assert.equal(await metric(server.url, 'sluice_inter_token_seconds_count{model="slow"}'), 4);
});

test('the silence while an answer changes its back end counts', async () => {
  const report = reportIn(await (await ask('broken')).text());
  assert.deepEqual([report.continued, report.stutters], [1, 1]);
  assert.equal(await metric(server.url, 'sluice_stutters_total{model="broken",backend="late"}'), 1);
});

/** The stream's words, and how long after the one before each of its pieces came, but for the first two bursts. */
async function read(model: string) {
  const response = await ask(model);
  let words = '';
  const cameAt: number[] = [];
  for await (const bytes of response.body!) {
    const text = Buffer.from(bytes).toString();
    for (const [, word] of text.matchAll(/"content":"([^"]*)"/g)) {
      words += word;
      cameAt.push(performance.now());
    }
  }
  const gaps = cameAt.slice(2 * BURST).map((at, index) => at - cameAt[2 * BURST + index - 1]!);
  return { words, longestMs: Math.max(...gaps) };
}

test('paced, the longest silence is under half of that from burst to burst, and the words are the same', async () => {
  const { words, longestMs } = await read('jerky');
  assert.equal(words, 'word '.repeat(5 * BURST));
  assert.ok(longestMs > BURST_MS * 0.9, 'the back end does give bursts');
  // A busy machine can only make silences longer.
  let shortest = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5 && shortest >= BURST_MS / 2; run += 1) {
    const smooth = await read('smooth');
    assert.equal(smooth.words, words);
    shortest = Math.min(shortest, smooth.longestMs);
  }
  assert.ok(shortest < BURST_MS / 2, `${Math.round(shortest)} ms at best`);
});
