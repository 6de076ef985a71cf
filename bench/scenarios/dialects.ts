// What a streamed chunk costs in each dialect, on scripted words: CPU of the whole server, beside chat completions in the same
// round. Keys, ids, metrics and logs are on. The rounds begin with another dialect each, so that none is always the first.
import { median, rounded, spreadOf } from '../../gateway/src/figures/statistics.ts';
import { Clients } from '../clients.ts';
import { KEY, startSluice, type Target } from '../servers.ts';

const ROUNDS = 8;
const STREAMS = 200;
const PIECES = 150;
const STEP_MS = 20;
/** Loads in one sample: the kernel's tick of 10 ms is then a hundredth of it, or nearly. */
const LOADS = 4;
const WANTED_RATIO = 1.3;
/** What the others are compared with. */
const BASELINE = 'chat/completions';
const MODEL = 'deepseek-r1';
const PROMPT = '请用三句话介绍量子计算。 '.repeat(20);
const MESSAGES = [{ role: 'user', content: PROMPT }];
const TEXTS = ['量子', ' computing', '，', ' bits'];

interface Dialect {
  readonly name: string;
  readonly path: string;
  readonly body: object;
}

const DIALECTS: readonly Dialect[] = [
  { name: BASELINE, path: '/v1/chat/completions', body: { model: MODEL, messages: MESSAGES } },
  { name: 'completions', path: '/v1/completions', body: { model: MODEL, prompt: PROMPT } },
  { name: 'generate_stream', path: `/v1/models/${MODEL}/generate_stream`, body: { prompt: PROMPT } },
  { name: 'responses', path: '/v1/responses', body: { model: MODEL, input: PROMPT } },
  { name: 'messages', path: '/v1/messages', body: { model: MODEL, messages: MESSAGES } },
];

export async function run(rounds = ROUNDS): Promise<object> {
  const pieces = Array.from({ length: PIECES }, (_, index) => TEXTS[index % TEXTS.length]!);
  const clients = new Clients();
  const sluice = await startSluice({
    log_level: 'info',
    backends: [{ kind: 'fake', slots: 10_000, first_token_ms: 0, token_ms: STEP_MS, pieces }],
  });
  try {
    for (const dialect of DIALECTS) await chunkMicros(clients, sluice, dialect);
    const samples = new Map(DIALECTS.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round += 1) {
      for (let turn = 0; turn < DIALECTS.length; turn += 1) {
        const dialect = DIALECTS[(round + turn) % DIALECTS.length]!;
        samples.get(dialect.name)!.push(await chunkMicros(clients, sluice, dialect));
      }
    }
    const baseline = samples.get(BASELINE)!;
    return {
      unit: `µs CPU (user and system) a chunk; ${STREAMS} streams of ${PIECES} pieces, one each ${STEP_MS} ms; ${rounds} rounds`,
      baseline: BASELINE,
      wantedRatio: WANTED_RATIO,
      dialects: Object.fromEntries(
        [...samples].map(([name, micros]) => {
          const ratios = micros.map((one, round) => one / baseline[round]!);
          return [
            name,
            {
              chunkMicros: spreadOf(micros, 2),
              ratio: rounded(median(ratios)),
              ratios: ratios.map((one) => rounded(one)),
            },
          ];
        }),
      ),
    };
  } finally {
    clients.stop();
    await sluice.stop();
  }
}

/** The requests themselves are in it. Throws if an answer was not whole. */
async function chunkMicros(
  clients: Clients,
  { port, cpuSeconds }: Target,
  dialect: Dialect,
): Promise<number> {
  const { name, path } = dialect;
  const body = JSON.stringify({ ...dialect.body, max_tokens: 2048, temperature: 0.6, stream: true });
  const before = cpuSeconds();
  for (let load = 0; load < LOADS; load += 1) {
    const { requests, lines } = await clients.send({
      kind: 'stream',
      port,
      count: STREAMS,
      path,
      body,
      key: KEY,
    });
    if (requests !== STREAMS || lines < STREAMS * PIECES)
      throw new Error(`${name}: of ${STREAMS} streams ${requests} came, in ${lines} lines.`);
  }
  return ((cpuSeconds() - before) * 1e6) / (LOADS * STREAMS * PIECES);
}
