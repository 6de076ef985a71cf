// Conversations over two of llama.cpp's own servers: how much of the prompts need not be computed again, and how evenly
// the work lies, where requests go to the two in turn, where Sluice looks at the load only, and where it also looks at
// what each has seen. There are more conversations at once than one server has slots, and fewer than both have; beside its
// slots a server keeps nothing, as one whose model is large has no room to.
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../gateway/src/core/clock.ts';
import { type Panel, plot } from '../../gateway/src/figures/plot.ts';
import { quantile, rounded, type Spread, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { bodyOf, type ChatMessage, randomPrompts } from '../../gateway/src/load/prompts.ts';
import { seededRandom } from '../../gateway/src/load/seeded-random.ts';
import { Endpoint, type Heard } from '../../gateway/src/load/streamed-request.ts';
import { startLlamaServer, XLLAMACPP } from '../peers/llama-server.ts';
import { KEY, modelFile, modelIn, startSluice, type Target } from '../servers.ts';

const ROUNDS = 3;
const MODEL = 'deepseek-r1';
const SLOTS = 12;
const CONTEXT_TOKENS = 1024;
/** People who talk at the same time, each in one conversation after the other. */
const USERS = 22;
const CONVERSATIONS = 34;
const TURNS = 4;
const NEW_TOKENS = 24;
/** From an answer to the next question, evenly distributed, in ms. */
const THINK_MS = { least: 200, most: 2_000 };
/** Words, about a token each. */
const SHARED_WORDS = 60;
const QUESTION_WORDS = 60;
const ANSWER_WORDS = 80;
const PATIENCE_MS = 300_000;
const WANTED = { hitRatio: 1.5, mostLoadOverMean: 1.25, leastInFlightEach: 8 };

const WAYS = ['roundRobin', 'loadOnly', 'affinity'] as const;
type Way = (typeof WAYS)[number];
const TITLES: Readonly<Record<Way, string>> = {
  roundRobin: 'in turn',
  loadOnly: 'load only',
  affinity: 'affinity',
};

interface Request {
  readonly backend: string;
  readonly heard: Heard;
}

interface Talk {
  readonly requests: readonly Request[];
  /** Until then all were talking, by the clock of the times. */
  readonly fullUntil: number;
}

interface Sample {
  readonly hitShare: number;
  readonly firstP50Ms: number;
  readonly firstP99Ms: number;
  readonly tokensPerSecond: number;
  /** The time-averaged tokens of requests in flight on the busier one, over the mean of both, while all are talking. */
  readonly loadOverMean: number;
  /** Time-averaged requests in flight on the one that has fewer. */
  readonly leastInFlight: number;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const file = await modelFile();
  const server = {
    modelFile: file,
    slots: SLOTS,
    contextTokens: CONTEXT_TOKENS,
    threads: 1,
    promptCacheMib: 0,
  };
  const left = await startLlamaServer(server);
  const right = await startLlamaServer(server);
  const gateway = (routing: object) =>
    startSluice({
      log_level: 'silent',
      routing,
      backends: [
        { kind: 'llama.cpp', id: 'left', url: `http://127.0.0.1:${left.port}`, slots: SLOTS },
        { kind: 'llama.cpp', id: 'right', url: `http://127.0.0.1:${right.port}`, slots: SLOTS },
      ],
      models: [{ id: MODEL, backends: [['left', 'right']] }],
    });
  const gateways: Target[] = [];
  const samples: Record<Way, Sample[]> = { roundRobin: [], loadOnly: [], affinity: [] };
  try {
    const loadOnly = await gateway({ prefix: 0, session: 0 });
    gateways.push(loadOnly);
    const affinity = await gateway({});
    gateways.push(affinity);
    const ports: Record<Way, readonly number[]> = {
      roundRobin: [left.port, right.port],
      loadOnly: [loadOnly.port],
      affinity: [affinity.port],
    };
    // What a server does once must not be in the first way's figures.
    await talk([left.port, right.port], 0, 2);
    for (let round = 1; round <= rounds; round += 1) {
      for (const [index, way] of WAYS.entries()) {
        // Of its own seed: what another way has had computed must not help it.
        const sample = sampleOf(await talk(ports[way], round * WAYS.length + index));
        samples[way].push(sample);
        console.error(round, way, JSON.stringify(sample));
      }
    }
  } finally {
    for (const target of gateways) await target.stop();
    await left.stop();
    await right.stop();
  }
  return {
    unit: `${USERS} people who think for ${THINK_MS.least} to ${THINK_MS.most} ms, ${CONVERSATIONS} conversations of ${TURNS} turns, ${NEW_TOKENS} new tokens each; two servers, one thread and ${SLOTS} slots of ${CONTEXT_TOKENS} tokens each, and nothing kept beside them; ${rounds} rounds`,
    model: modelIn(file),
    peer: `llama.cpp's own server, xllamacpp ${XLLAMACPP}`,
    wanted: WANTED,
    hitRatioToRoundRobin: spreadOf(
      samples.affinity.map(({ hitShare }, round) => hitShare / samples.roundRobin[round]!.hitShare),
      2,
    ),
    ...Object.fromEntries(WAYS.map((way) => [way, summary(samples[way])])),
  };
}

/** All conversations, over one gateway or over servers in turn. Throws if an answer was not whole. */
async function talk(ports: readonly number[], seed: number, count = CONVERSATIONS): Promise<Talk> {
  const endpoints = ports.map(
    (port) =>
      new Endpoint({
        url: new URL(`http://127.0.0.1:${port}/v1/chat/completions`),
        headers: {},
        clock: systemClock,
      }),
  );
  const requests: Request[] = [];
  const random = seededRandom(seed);
  let conversations = 0;
  let sent = 0;
  let fullUntil = Number.POSITIVE_INFINITY;
  const ask = async (messages: readonly ChatMessage[]) => {
    const place = sent % endpoints.length;
    sent += 1;
    const heard = await endpoints[place]!.ask({
      body: bodyOf({ messages, maxTokens: NEW_TOKENS }, { model: MODEL, isChat: true, temperature: 0 }),
      key: KEY,
      patienceMs: PATIENCE_MS,
      since: systemClock.now(),
    });
    if (heard.ending !== 'complete') throw new Error(`An answer ${heard.ending}: ${heard.reason}.`);
    requests.push({ backend: heard.backend ?? String(place), heard });
  };
  const user = async () => {
    while (conversations < count) {
      const number = conversations;
      conversations += 1;
      const messages: ChatMessage[] = [{ role: 'system', content: text(0, 0, SHARED_WORDS) }];
      for (let turn = 0; turn < TURNS; turn += 1) {
        const place = number * 2 * TURNS + 2 * turn;
        messages.push({ role: 'user', content: text(seed, place, QUESTION_WORDS) });
        await ask(messages);
        // What was answered is decided by the seed: ways must not differ in what they are sent.
        messages.push({ role: 'assistant', content: text(seed, place + 1, ANSWER_WORDS) });
        await sleep(THINK_MS.least + random() * (THINK_MS.most - THINK_MS.least));
      }
    }
    fullUntil = Math.min(fullUntil, systemClock.now());
  };
  await Promise.all(Array.from({ length: USERS }, user));
  return { requests, fullUntil };
}

function text(seed: number, place: number, words: number): string {
  const lengthsOf = () => ({ inputTokens: words, outputTokens: 1 });
  return randomPrompts({ seed, prefixTokens: 0, lengthsOf })(place).messages[0]!.content;
}

function sampleOf({ requests, fullUntil }: Talk): Sample {
  const begin = Math.min(...requests.map(({ heard }) => heard.sentAt));
  const end = Math.max(...requests.map(({ heard }) => heard.endedAt));
  const firsts = requests.map(({ heard }) => heard.wordsAt[0]! - heard.sentAt);
  const sum = (pick: (heard: Heard) => number, backend?: string) =>
    requests
      .filter((one) => backend === undefined || one.backend === backend)
      .reduce((total, { heard }) => total + pick(heard), 0);
  const backends = [...new Set(requests.map(({ backend }) => backend))];
  const msOf = ({ sentAt, endedAt }: Heard) => Math.max(0, Math.min(endedAt, fullUntil) - sentAt);
  const works = backends.map((backend) =>
    sum((heard) => msOf(heard) * ((heard.usage?.promptTokens ?? 0) + NEW_TOKENS), backend),
  );
  const inFlight = backends.map((backend) => sum(msOf, backend) / (fullUntil - begin));
  return {
    hitShare: rounded(
      sum(({ usage }) => usage?.cachedTokens ?? 0) / sum(({ usage }) => usage?.promptTokens ?? 0),
      3,
    ),
    firstP50Ms: Math.round(quantile(firsts, 0.5)),
    firstP99Ms: Math.round(quantile(firsts, 0.99)),
    tokensPerSecond: rounded((sum(({ usage }) => usage?.tokens ?? 0) * 1000) / (end - begin), 1),
    loadOverMean: rounded((Math.max(...works) * 2) / works.reduce((total, work) => total + work, 0)),
    // With one of them unused there is nothing in flight on it.
    leastInFlight: backends.length < 2 ? 0 : rounded(Math.min(...inFlight), 1),
  };
}

type Summary = Readonly<Record<keyof Sample, Spread>>;

function summary(taken: readonly Sample[]): Summary {
  const names = Object.keys(taken[0]!) as (keyof Sample)[];
  return Object.fromEntries(
    names.map((name) => [
      name,
      spreadOf(
        taken.map((sample) => sample[name]),
        3,
      ),
    ]),
  ) as Summary;
}

export function draw(figures: Readonly<Record<Way, Summary>>): string {
  const panel = (title: string, yLabel: string, name: keyof Sample, limit?: Panel['limit']): Panel => ({
    title,
    xLabel: 'how requests are spread',
    yLabel,
    x: WAYS.map((way) => TITLES[way]),
    series: [{ name: title, values: WAYS.map((way) => figures[way][name]) }],
    isColumns: true,
    limit,
  });
  return plot("Conversations over two of llama.cpp's servers", [
    panel('Prompt tokens not computed again', 'share', 'hitShare'),
    panel('Work in flight, the busier over the mean', 'times', 'loadOverMean', {
      name: `wanted: at most ${WANTED.mostLoadOverMean}`,
      value: WANTED.mostLoadOverMean,
    }),
    panel('First token, P50', 'ms', 'firstP50Ms'),
    panel('Speed', 'tokens/s', 'tokensPerSecond'),
  ]);
}
