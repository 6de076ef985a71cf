// A promotion's surge, on Sluice and on what one would deploy instead: the same file, the same two cores, the same
// customers at the same times. First what each can do, then the surge at one rate for all, then Sluice's engine with one
// thing at a time switched off.
import { type NumericPanel, type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { median, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { modelFile, modelIn, publishedModelFile } from '../servers.ts';
import {
  capacityOf,
  type LoadFigures,
  type Moment,
  NEW_TOKENS,
  OBJECTIVES,
  PATIENCE_MS,
  type Shape,
  surge,
  sustains,
} from '../surge-load.ts';
import {
  llamaCppPython,
  llamaServer1,
  llamaServer2,
  type Running,
  type Side,
  SWITCHED_OFF,
  sluice,
  sluiceBeforeLlama,
  sluiceBeforeVllm,
  transformers,
  vllm,
  type Weights,
} from '../surge-sides.ts';

/** Each brings other customers at other times; all sides have each of them. */
const ROUNDS = 2;
const WITH_VLLM = process.env.SLUICE_BENCH_VLLM === '1';
const SIDES: readonly Side[] = [
  transformers,
  llamaCppPython,
  llamaServer2,
  ...(WITH_VLLM ? [vllm] : []),
  sluice,
  sluiceBeforeLlama,
  ...(WITH_VLLM ? [sluiceBeforeVllm] : []),
];

/** Only for what it can do: the speed of one thread beside that of Sluice's one. */
const ASIDE = llamaServer1;

const CAPACITY_AT = { clients: 8, requests: 16 };
/** Of its own capacity: where the search for the highest rate that it holds begins, and how far it goes each time. */
const FIRST_SHARE = 0.5;
const SHARE_STEPS = [0.25, 0.125];
const REQUESTS_A_RATE = 20;
const ALONE = 3;
/** Of Sluice's capacity: a machine that is well on an ordinary day, and asked for four times what it can do on the day. */
const STEADY_SHARE = 0.4;
const FACTOR = 10;
const SURGE = { factor: FACTOR, beforeSeconds: 15, surgeSeconds: 60, afterSeconds: 15 };
/** With one thing switched off; Sluice as it is goes through the same. */
const SHORT_SURGE = { factor: FACTOR, beforeSeconds: 10, surgeSeconds: 30, afterSeconds: 5 };

interface Ability {
  /** At eight clients that ask again as soon as they are answered. */
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  /** First token of one client alone, the median of a few questions, in ms. */
  readonly aloneFirstMs: number;
  /** The highest rate at which all were answered and the first token's P99 was under 500 ms; 0: there is none. */
  readonly sustainedRps: number;
  /** The lowest that was tried and was too much; absent: it held the highest that was tried. */
  readonly tooMuchRps: number | undefined;
}

const MEASURES = [
  'goodput',
  'goodShare',
  'refusedShare',
  'tokensPerSecond',
  'firstP50Ms',
  'firstP99Ms',
  'endP50Ms',
  'endP99Ms',
  'longestGapMs',
  'stutters',
  'refused',
  'gaveUp',
  'lost',
  'failed',
  'cpuMsPerToken',
  'rssMib',
] as const satisfies readonly (keyof LoadFigures)[];
type Measure = (typeof MEASURES)[number];

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const weights: Weights = { file, published: published() };
  const skipped: Record<string, string> = {};
  const sides: Side[] = [];
  const abilities: Record<string, Ability> = {};
  for (const side of [...SIDES, ASIDE]) {
    try {
      abilities[side.name] = await onSide(side, weights, abilityOf);
      if (side !== ASIDE) sides.push(side);
      console.error(side.name, JSON.stringify(abilities[side.name]));
    } catch (thrown) {
      if (side === sluice) throw thrown;
      skipped[side.name] = (thrown as Error).message;
      console.error(side.name, 'is skipped:', skipped[side.name]);
    }
  }
  const steadyRps = rounded(STEADY_SHARE * abilities[sluice.name]!.requestsPerSecond);
  const shape: Shape = { ...SURGE, steadyRps };
  const taken = new Map(sides.map(({ name }) => [name, [] as LoadFigures[]]));
  const moments = new Map(sides.map(({ name }) => [name, [] as (readonly Moment[])[]]));
  for (let round = 1; round <= rounds; round += 1) {
    // All sides in each round, so that what the machine does meanwhile meets them alike.
    for (const side of round % 2 === 1 ? sides : sides.toReversed()) {
      const { figures, moments: own } = await onSide(side, weights, (server) => surge(server, round, shape));
      console.error(round, side.name, JSON.stringify(figures));
      taken.get(side.name)!.push(figures);
      moments.get(side.name)!.push(own);
    }
  }
  const switches: Record<string, object> = {};
  for (const side of [sluice, ...SWITCHED_OFF]) {
    try {
      const short = { ...SHORT_SURGE, steadyRps };
      const { figures } = await onSide(side, weights, (server) => surge(server, rounds + 1, short));
      switches[side === sluice ? 'nothing' : side.name] = {
        what: side === sluice ? 'nothing is switched off' : side.title,
        ...figures,
      };
      console.error('without', side.name, JSON.stringify(figures));
    } catch (thrown) {
      skipped[side.name] = (thrown as Error).message;
    }
  }
  return {
    unit:
      `greedy, ${NEW_TOKENS} new tokens; a good answer has its first token within ${OBJECTIVES.ttft} ms, no silence over ` +
      `${OBJECTIVES.gap} ms, and ends; clients leave after ${PATIENCE_MS / 1000} s without a word; ${rounds} rounds; times in ms; ` +
      '-1: there was no answer to measure',
    model: modelIn(file),
    surge: { ...shape, surgeRps: rounded(steadyRps * FACTOR) },
    shortSurge: SHORT_SURGE,
    skipped,
    sides: Object.fromEntries(
      sides.map((side) => [
        side.name,
        {
          what: side.title,
          threads: side.threads,
          weights: side.weights,
          ability: abilities[side.name],
          surge: summary(taken.get(side.name)!),
          moments: middleOf(moments.get(side.name)!),
        },
      ]),
    ),
    aside: { what: ASIDE.title, threads: ASIDE.threads, ability: abilities[ASIDE.name] },
    switchedOff: switches,
  };
}

function published(): string | undefined {
  try {
    return publishedModelFile();
  } catch {
    return undefined;
  }
}

/** The server is up for this, and for nothing else. */
async function onSide<T>(side: Side, weights: Weights, work: (server: Running) => Promise<T>): Promise<T> {
  const server = await side.start(weights);
  try {
    // What a server does once, at its first request, is no part of a day.
    await capacityOf(server, 0, { clients: 1, requests: 1 });
    return await work(server);
  } finally {
    await server.stop();
  }
}

async function abilityOf(server: Running): Promise<Ability> {
  const alone: number[] = [];
  for (let question = 0; question < ALONE; question += 1) {
    const { firstP99Ms } = await sustains(server, 10 + question, { ratePerSecond: 100, requests: 1 });
    alone.push(firstP99Ms);
  }
  const aloneFirstMs = median(alone);
  const capacity = await capacityOf(server, 20, CAPACITY_AT);
  let sustainedRps = 0;
  let tooMuchRps: number | undefined;
  let share = FIRST_SHARE;
  // Who is too slow alone is too slow at any rate.
  for (const [look, step] of (aloneFirstMs < OBJECTIVES.ttft ? [...SHARE_STEPS, 0] : []).entries()) {
    const ratePerSecond = rounded(share * capacity.requestsPerSecond, 3);
    // Other customers each time: who was asked about before is in caches.
    const { holds } = await sustains(server, 30 + look, { ratePerSecond, requests: REQUESTS_A_RATE });
    if (holds) sustainedRps = Math.max(sustainedRps, ratePerSecond);
    else tooMuchRps = Math.min(tooMuchRps ?? Number.POSITIVE_INFINITY, ratePerSecond);
    share += holds ? step : -step;
  }
  return { ...capacity, aloneFirstMs, sustainedRps, tooMuchRps };
}

function summary(taken: readonly LoadFigures[]): object {
  const spreads = MEASURES.map((measure) => [
    measure,
    spreadOf(
      taken.map((one) => one[measure]),
      2,
    ),
  ]);
  return {
    requests: taken.map(({ requests }) => requests),
    promptTokens: Math.round(median(taken.map(({ promptTokens }) => promptTokens))),
    fewestTokens: Math.min(...taken.map(({ fewestTokens }) => fewestTokens)),
    isGeneratorLate: taken.some(({ isGeneratorLate }) => isGeneratorLate),
    reasons: taken.map(({ reasons }) => reasons),
    ...Object.fromEntries(spreads),
  };
}

/** Moment by moment over the rounds: the middle value. */
function middleOf(rounds: readonly (readonly Moment[])[]): Moment[] {
  return (rounds[0] ?? []).map(({ second }, index) => {
    const own = rounds.map((moments) => moments[index]!);
    const firsts = own.flatMap(({ firstP99Ms }) => firstP99Ms ?? []);
    return {
      second,
      goodput: rounded(median(own.map(({ goodput }) => goodput))),
      firstP99Ms: firsts.length > 0 ? Math.round(median(firsts)) : null,
    };
  });
}

interface Drawn {
  readonly sides: Readonly<
    Record<
      string,
      {
        readonly surge: Readonly<Record<Measure, Spread>>;
        readonly ability: Ability;
        readonly moments: readonly Moment[];
      }
    >
  >;
  readonly switchedOff: Readonly<Record<string, LoadFigures>>;
}

/** So many lines can be told apart. */
const DRAWN_OVER_TIME = [sluice, llamaServer2, llamaCppPython, transformers].map(({ name }) => name);
const FRONTED = [sluiceBeforeLlama, llamaServer2].map(({ name }) => name);

const shortOf = (name: string) => SIDES.find((side) => side.name === name)?.short ?? name;

export function draw({ sides, switchedOff }: Drawn): string {
  const names = Object.keys(sides);
  const columns = (title: string, yLabel: string, figureOf: (name: string) => Spread): Panel => ({
    title,
    yLabel,
    xLabel: 'server',
    x: names.map(shortOf),
    series: [{ name: 'median of the rounds', values: names.map(figureOf) }],
    isColumns: true,
  });
  const overTime = (
    title: string,
    yLabel: string,
    drawn: readonly string[],
    figureOf: (moment: Moment) => number | null,
    limit?: Panel['limit'],
  ): NumericPanel => ({
    title,
    yLabel,
    xLabel: 'seconds',
    xScale: 'linear',
    ...(limit && { limit, yScale: 'log' }),
    series: drawn
      .filter((name) => sides[name])
      .map((name) => ({
        name: shortOf(name),
        style: 'line',
        points: sides[name]!.moments.flatMap((moment) => {
          const y = figureOf(moment);
          return y === null ? [] : [{ x: moment.second, y }];
        }),
      })),
  });
  const objective = { name: '500 ms', value: OBJECTIVES.ttft };
  const ways = Object.keys(switchedOff);
  return plot('A surge on two cores: ten times as much for a minute', [
    columns('Good answers in the surge', 'a second', (name) => sides[name]!.surge.goodput),
    columns('First token, P99', 'ms', (name) => sides[name]!.surge.firstP99Ms),
    columns('Tokens in the surge', 'a second', (name) => sides[name]!.surge.tokensPerSecond),
    overTime('Good answers, by when they were asked', 'a second', DRAWN_OVER_TIME, ({ goodput }) => goodput),
    overTime(
      'First token, P99',
      'ms, logarithmic',
      DRAWN_OVER_TIME,
      ({ firstP99Ms }) => firstP99Ms,
      objective,
    ),
    overTime("In front of llama.cpp's server: good answers", 'a second', FRONTED, ({ goodput }) => goodput),
    {
      title: `Good answers with one thing switched off: ${ways.map((way, index) => `${index + 1} ${way}`).join(', ')}`,
      yLabel: 'a second',
      xLabel: 'what is switched off',
      x: ways.map((_, index) => index + 1),
      series: [
        {
          name: 'one surge each',
          values: ways.map((way) => spreadOf([switchedOff[way]!.goodput], 2)),
        },
      ],
      isColumns: true,
    },
  ]);
}
