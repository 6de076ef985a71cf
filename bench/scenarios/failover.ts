// What a client feels when a back end fails, and what a back end feels when a client leaves: single moments, one request at a
// time, between an upstream and a client that are in this process and so share a clock.
import { setTimeout as sleep } from 'node:timers/promises';
import { median, rounded } from '../../gateway/src/figures/statistics.ts';
import { type AskedUpstream, event, HandUpstream, say, sayAll } from '../hand-upstream.ts';
import { KEY, startSluice, type Target } from '../servers.ts';
import { TimedRequest } from '../timed-request.ts';

const ROUNDS = 20;
const LIMIT_MS = 300;
const PIECES = Array.from({ length: 24 }, (_, index) => ` 量子${index}`);
const TEXT = PIECES.join('');
/** Pieces before a fault. */
const BEFORE = 10;
/**
 * Good answers between two faults: the breaker must not take the first back end for dead, and the budget of attempts after
 * time-outs grows by a tenth for each.
 */
const GOOD_BETWEEN = 8;
const LONGEST_MS = 86_400_000;
/** What the upstream has said is with the gateway after this. */
const SETTLE_MS = 20;

interface Stage {
  readonly sluice: Target;
  /** Preferred, and the one that fails. */
  first: HandUpstream;
  readonly second: HandUpstream;
}

export async function run(rounds = ROUNDS): Promise<object> {
  const stage = await setUp();
  try {
    const baseline = await takeBaseline(stage);
    const added = (measure: (stage: Stage) => Promise<number>) => repeated(stage, rounds, measure);
    return {
      unit: `ms, median and worst of ${rounds}; the limits are ${LIMIT_MS} ms`,
      requestToUpstream: rounded(baseline, 2),
      beforeFirstToken: {
        refused: await added(async (one) => (await refused(one)) - baseline),
        resetBeforeHead: await added((one) =>
          failsBeforeToken(one, (asked) => asked.response.socket!.resetAndDestroy()),
        ),
        resetAfterHead: await added((one) =>
          failsBeforeToken(one, ({ response }) => {
            say(response, []);
            response.socket!.resetAndDestroy();
          }),
        ),
        beyondFirstTokenLimit: await added(silentBeforeToken),
      },
      continuation: {
        beyondSilenceLimit: await added(silentInTheMiddle),
        afterReset: await added((one) =>
          breaksInTheMiddle(one, (asked) => asked.response.socket!.resetAndDestroy()),
        ),
        afterCleanCut: await added((one) => breaksInTheMiddle(one, (asked) => asked.response.end())),
      },
      clientLeavesUntilUpstreamCloses: await clientLeaves(stage, rounds),
    };
  } finally {
    await stage.sluice.stop();
    await stage.first.close();
    await stage.second.close();
  }
}

async function setUp(): Promise<Stage> {
  const first = await HandUpstream.start();
  const second = await HandUpstream.start();
  const sluice = await startSluice({
    log_level: 'silent',
    first_token_timeout_ms: LIMIT_MS,
    silence_limit_ms: LIMIT_MS,
    answer_timeout_ms: LONGEST_MS,
    probe_interval_ms: LONGEST_MS,
    backends: [
      { id: 'first', url: first.url, kind: 'sluice' },
      { id: 'second', url: second.url, kind: 'sluice' },
    ],
    models: [{ id: 'case', backends: ['first', 'second'] }],
  });
  return { sluice, first, second };
}

function send({ sluice }: Stage, rest: object = {}): Promise<TimedRequest> {
  const body = { model: 'case', stream: true, messages: [{ role: 'user', content: 'Go on.' }], ...rest };
  return TimedRequest.send(sluice.port, KEY, body);
}

/** An upstream that answers well, and goes on with what it is given. */
function answerWell(upstream: HandUpstream): Promise<AskedUpstream> {
  return new Promise((resolve) => {
    upstream.answer = (asked) => {
      const { content } = asked.body.messages.at(-1)!;
      const given = TEXT.startsWith(content) ? content.length : 0;
      const from = PIECES.findIndex((_, index) => PIECES.slice(0, index).join('').length === given);
      sayAll(asked.response, PIECES.slice(from));
      resolve(asked);
    };
  });
}

async function goodAnswers(stage: Stage, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const asked = answerWell(stage.first);
    const request = await send(stage);
    times.push((await asked).at - request.sentAt);
    await request.untilEnded();
    expectWhole(request);
  }
  return times;
}

/** From a client's last byte to the upstream that answers. */
async function takeBaseline(stage: Stage): Promise<number> {
  await goodAnswers(stage, 50);
  return median(await goodAnswers(stage, 50));
}

async function repeated(stage: Stage, rounds: number, measure: (stage: Stage) => Promise<number>) {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await goodAnswers(stage, GOOD_BETWEEN);
    samples.push(await measure(stage));
  }
  return { median: rounded(median(samples), 1), worst: rounded(Math.max(...samples), 1) };
}

/** Nobody listens at the first one's port: from the client's last byte to the second. */
async function refused(stage: Stage): Promise<number> {
  const { port } = stage.first;
  await stage.first.close();
  const asked = answerWell(stage.second);
  const request = await send(stage);
  const { at } = await asked;
  await request.untilEnded();
  expectWhole(request);
  stage.first = await HandUpstream.start(port);
  return at - request.sentAt;
}

/** From the first one's failure to the request at the second. */
async function failsBeforeToken(stage: Stage, fail: (asked: AskedUpstream) => void): Promise<number> {
  let failedAt = 0;
  stage.first.answer = (asked) => {
    // On a connection that was used before, the gateway asks once more by a new one: only the last failure counts.
    failedAt = performance.now();
    fail(asked);
  };
  const asked = answerWell(stage.second);
  const request = await send(stage);
  const { at } = await asked;
  await request.untilEnded();
  expectWhole(request);
  return at - failedAt;
}

async function silentBeforeToken(stage: Stage): Promise<number> {
  stage.first.answer = ({ response }) => say(response, []);
  const asked = answerWell(stage.second);
  const request = await send(stage);
  const { at } = await asked;
  await request.untilEnded();
  expectWhole(request);
  return at - request.sentAt - LIMIT_MS;
}

/** The client's longest silence beyond the limit. */
async function silentInTheMiddle(stage: Stage): Promise<number> {
  stage.first.answer = ({ response }) => say(response, PIECES.slice(0, BEFORE));
  void answerWell(stage.second);
  const request = await send(stage);
  await request.untilEnded();
  expectWhole(request);
  return request.texts[BEFORE]!.at - request.texts[BEFORE - 1]!.at - LIMIT_MS;
}

/** From the break to the client's next piece. */
async function breaksInTheMiddle(stage: Stage, fail: (asked: AskedUpstream) => void): Promise<number> {
  const begun = new Promise<AskedUpstream>((resolve) => {
    stage.first.answer = (asked) => {
      say(asked.response, PIECES.slice(0, BEFORE));
      resolve(asked);
    };
  });
  void answerWell(stage.second);
  const request = await send(stage);
  const asked = await begun;
  await request.untilTexts(BEFORE);
  const failedAt = performance.now();
  fail(asked);
  await request.untilEnded();
  expectWhole(request);
  return request.texts[BEFORE]!.at - failedAt;
}

/** Phases of an answer: what the upstream has said when the client leaves, and how many texts the client has by then. */
const PHASES: readonly {
  readonly name: string;
  readonly stream: boolean;
  readonly texts: number;
  readonly said: (asked: AskedUpstream) => void;
}[] = [
  { name: 'beforeHead', stream: true, texts: 0, said: () => {} },
  { name: 'beforeFirstToken', stream: true, texts: 0, said: ({ response }) => void sayRole(response) },
  {
    name: 'betweenTokens',
    stream: true,
    texts: 5,
    said: ({ response }) => say(response, PIECES.slice(0, 5)),
  },
  { name: 'wholeBeforeHead', stream: false, texts: 0, said: () => {} },
  {
    name: 'wholeInBody',
    stream: false,
    texts: 0,
    said: ({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"id":"c-1","choices":[{"index":0,"message":{"role":"assistant","content":"');
    },
  },
];

async function clientLeaves(stage: Stage, rounds: number): Promise<object> {
  const figures: Record<string, object> = {};
  for (const { name, stream, texts, said } of PHASES) {
    figures[name] = await repeated(stage, rounds, async () => {
      const begun = new Promise<AskedUpstream>((resolve) => {
        stage.first.answer = (asked) => {
          said(asked);
          resolve(asked);
        };
      });
      const request = await send(stage, { stream });
      const asked = await begun;
      await request.untilTexts(texts);
      await sleep(SETTLE_MS);
      const leftAt = request.leave();
      return (await asked.left) - leftAt;
    });
  }
  return figures;
}

function sayRole(response: AskedUpstream['response']): void {
  say(response, []);
  response.write(event({ role: 'assistant', content: '' }));
}

/** A figure of a broken answer would be none. */
function expectWhole(request: TimedRequest): void {
  if (request.answer !== TEXT) throw new Error(`The answer is not the script: ${request.answer}`);
}
