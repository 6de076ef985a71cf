// What more answers at once give and cost, 1 to 64, and where `auto` settles: 64 clients that ask again as soon as they are
// answered. Only the time in which the places are full and the first rush is over counts.
import { systemClock } from '../../gateway/src/core/clock.ts';
import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { quantile, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { LoadRecord } from '../../gateway/src/load/load-record.ts';
import { runLoad } from '../../gateway/src/load/load-run.ts';
import { bodyOf } from '../../gateway/src/load/prompts.ts';
import { Endpoint } from '../../gateway/src/load/streamed-request.ts';
import { metric } from '../../gateway/test/e2e/harness.ts';
import { KEY, modelFile, modelIn, startSluice } from '../servers.ts';
import { chat } from '../workload.ts';

const ROUNDS = 1;
const SIZES = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 'auto'] as const;
type Size = (typeof SIZES)[number];
const CLIENTS = 64;
const SHARED_TOKENS = 300;
const CONTEXT_TOKENS = 1024;
/** The first rush of prompts; `auto` looks for its size meanwhile. */
const rushSeconds = (size: Size) => (size === 'auto' ? 240 : 30);
const MEASURED_SECONDS = 45;
/** Nobody is to leave: who waits for one place behind 63 others waits long. */
const PATIENCE_MS = 600_000;

interface Figures {
  readonly tokensPerSecond: number;
  /** What a reader waits for between two pieces, prompts of newcomers included. */
  readonly gapP50Ms: number;
  readonly gapP99Ms: number;
  readonly firstP50Ms: number;
  /** How many answers at once it was in the end, as its metrics tell. */
  readonly places: number;
}

const MEASURES = ['tokensPerSecond', 'gapP50Ms', 'gapP99Ms', 'firstP50Ms', 'places'] as const;

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const samples = SIZES.map(() => [] as Figures[]);
  for (let round = 1; round <= rounds; round += 1) {
    // All sizes in each round, so that what the machine does meanwhile meets them alike.
    for (const [index, size] of SIZES.entries()) {
      const taken = await measure(file, size, round);
      console.error(round, size, JSON.stringify(taken));
      samples[index]!.push(taken);
    }
  }
  return {
    unit: `${CLIENTS} clients in a closed loop, 64 new tokens, greedy, one thread, windows of ${CONTEXT_TOKENS} tokens, ${rounds} rounds of ${MEASURED_SECONDS} s; the wait for a place counts into the first token`,
    model: modelIn(file),
    points: samples.map((taken, index) => ({
      batchSize: SIZES[index],
      ...Object.fromEntries(
        MEASURES.map((name) => [
          name,
          spreadOf(
            taken.map((one) => one[name]),
            1,
          ),
        ]),
      ),
    })),
  };
}

async function measure(file: string, size: Size, round: number): Promise<Figures> {
  const engine = { batch_size: size, threads: 1, context: CONTEXT_TOKENS };
  const sluice = await startSluice({
    model: file,
    log_level: 'silent',
    engine,
    queue: { max_wait_ms: PATIENCE_MS },
    first_token_timeout_ms: PATIENCE_MS,
  });
  try {
    const clock = systemClock;
    const url = new URL(`http://127.0.0.1:${sluice.port}/v1/chat/completions`);
    const endpoint = new Endpoint({ url, headers: {}, clock });
    const record = new LoadRecord(clock.now());
    /** Each silence, and when it ended. */
    const words: { readonly at: number; readonly gapMs: number }[] = [];
    const over = new AbortController();
    const rush = rushSeconds(size);
    const cancel = clock.after((rush + MEASURED_SECONDS) * 1000, () => over.abort());
    await runLoad({
      clock,
      ask: (asked) => {
        let before: number | undefined;
        const onWord = (at: number) => {
          asked.onWord?.(at);
          if (before !== undefined) words.push({ at, gapMs: at - before });
          before = at;
        };
        return endpoint.ask({ ...asked, onWord });
      },
      pace: { kind: 'closed', clients: CLIENTS, requests: Number.POSITIVE_INFINITY },
      request: (visitor) => ({ body: bodyFor(round, visitor), key: KEY, tenant: 'all' }),
      patienceMs: PATIENCE_MS,
      returns: 0,
      maxConcurrency: Number.POSITIVE_INFINITY,
      record,
      signal: over.signal,
    });
    cancel();
    const from = record.startedAt + rush * 1000;
    const gaps = words.filter(({ at }) => at >= from).map(({ gapMs }) => gapMs);
    const pieces = record.seconds.slice(rush, rush + MEASURED_SECONDS);
    const firsts = record.attempts
      .filter(({ dueMs, firstMs = 0 }) => dueMs + firstMs >= rush * 1000)
      .flatMap(({ firstMs }) => firstMs ?? []);
    return {
      tokensPerSecond: rounded(pieces.reduce((sum, second) => sum + second.pieces, 0) / MEASURED_SECONDS, 1),
      gapP50Ms: rounded(quantile(gaps, 0.5), 1),
      gapP99Ms: rounded(quantile(gaps, 0.99), 1),
      firstP50Ms: Math.round(quantile(firsts, 0.5)),
      places: await metric(`http://127.0.0.1:${sluice.port}`, 'sluice_slots{backend="engine"}'),
    };
  } finally {
    await sluice.stop();
  }
}

function bodyFor(round: number, visitor: number): string {
  const { system, user, maxTokens } = chat(SHARED_TOKENS, round, visitor);
  const messages = [
    { role: 'system', content: system },
    { role: 'user', content: user },
  ];
  const options = { isChat: true, ignoresEos: false, temperature: 0, extra: undefined };
  return bodyOf({ messages, maxTokens }, { model: 'deepseek-r1', ...options });
}

interface Point extends Readonly<Record<(typeof MEASURES)[number], Spread>> {
  readonly batchSize: Size;
}

export function draw({ points }: { readonly points: readonly Point[] }): string {
  const panel = (title: string, yLabel: string, series: Panel['series']): Panel => {
    return {
      title,
      yLabel,
      xLabel: 'engine.batch_size',
      x: points.map(({ batchSize }) => batchSize),
      series,
    };
  };
  const of = (name: (typeof MEASURES)[number]) => points.map((point) => point[name]);
  const settled = points.find(({ batchSize }) => batchSize === 'auto')?.places.median;
  return plot(`64 clients on 1 to 64 places, one thread; auto was at ${settled} in the end`, [
    panel('Speed', 'tokens/s', [{ name: 'all answers together', values: of('tokensPerSecond') }]),
    {
      ...panel('Silence between two pieces of an answer', 'ms', [
        { name: 'P50', values: of('gapP50Ms') },
        { name: 'P99', values: of('gapP99Ms') },
      ]),
      limit: { name: 'a stutter', value: 500 },
    },
    panel('First token, the wait for a place included', 'ms', [{ name: 'P50', values: of('firstP50Ms') }]),
  ]);
}
