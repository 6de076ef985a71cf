// The names that a case's `assert` may have, each with its check. A name that has none fails the case: nothing of the file
// is passed over. Times have a bound only where noise cannot break it: later is not wrong on a loaded machine.
import assert from 'node:assert/strict';
import { statusOf } from '../e2e/harness.ts';
import type { Answer, ReadChoice } from './answer.ts';
import type { Expected } from './cases.ts';
import type { Stage } from './stage.ts';

/** What came of playing a case. */
export interface Seen {
  readonly answer: Answer;
  readonly stage: Stage;
}

type Check<Value> = (expected: Value, seen: Seen) => void | Promise<void>;

/** What a loaded machine may add to a silence that a timer of the server's ends. */
const GRACE_MS = 1_000;

/** `byHand`: names that the caller checks itself. */
export async function checkExpected(
  seen: Seen,
  expected: Expected,
  byHand: readonly string[] = [],
): Promise<void> {
  for (const [name, value] of Object.entries(expected)) {
    if (byHand.includes(name)) continue;
    const check = CHECKS[name];
    assert.ok(check, `nobody checks "${name}"`);
    await check(value as never, seen);
  }
}

/** The choice of an answer; one that never came has said nothing. */
export function choiceOf({ choices }: Answer, index = 0): ReadChoice {
  return (
    choices.get(index) ?? {
      content: '',
      reasoning: '',
      toolCalls: [],
      finish: null,
      finishChunks: 0,
      roleChunks: 0,
    }
  );
}

const CHECKS: Readonly<Record<string, Check<never>>> = {
  status: (expected: number, { answer }) => assert.equal(answer.status, expected, answer.text.slice(0, 500)),
  statusIn: (expected: readonly number[], { answer }) =>
    assert.ok(expected.includes(answer.status), `${answer.status}: ${answer.text.slice(0, 500)}`),
  contentTypeStartsWith: (expected: string, { answer }) =>
    assert.ok(answer.headers['content-type']?.startsWith(expected), answer.headers['content-type']),

  content: (expected: string, { answer }) => assert.equal(choiceOf(answer).content, expected),
  contentStartsWith: (expected: string, { answer }) =>
    assert.ok(choiceOf(answer).content.startsWith(expected), answer.text.slice(0, 500)),
  contentIncludes: (expected: string, { answer }) =>
    assert.ok(choiceOf(answer).content.includes(expected), choiceOf(answer).content),
  contentLength: (expected: number, { answer }) => assert.equal(choiceOf(answer).content.length, expected),
  reasoning: (expected: string | null, { answer }) =>
    assert.equal(choiceOf(answer).reasoning, expected ?? ''),
  finish: (expected: string | null, { answer }) => assert.equal(choiceOf(answer).finish, expected),
  finishChunks: (expected: number, { answer }) => assert.equal(choiceOf(answer).finishChunks, expected),
  toolCalls: checkToolCalls,
  choices: checkChoices,
  lastChunkChoices: (expected: number, { answer }) =>
    assert.equal((answer.events.at(-1)?.value.choices as unknown[] | undefined)?.length, expected),

  done: (expected: boolean, { answer }) => assert.equal(answer.isDone, expected, answer.text.slice(-500)),
  error: (expected: boolean, { answer }) =>
    assert.equal(answer.error !== undefined, expected, answer.text.slice(-500)),
  errorMentions: (expected: string, { answer }) =>
    assert.ok(JSON.stringify(answer.error ?? {}).includes(expected), answer.text.slice(0, 500)),

  usage: (expected: Readonly<Record<string, number>>, { answer }) => {
    for (const [name, count] of Object.entries(expected)) assert.equal(answer.usage?.[name], count, name);
  },
  accountedUsage: async (expected: { prompt_tokens: number; completion_tokens: number }, { stage }) => {
    await stage.metricIs('sluice_prompt_tokens_total', expected.prompt_tokens);
    await stage.metricIs('sluice_completion_tokens_total', expected.completion_tokens);
  },

  mustNotContain: (expected: readonly string[], { answer }) => {
    for (const part of expected) assert.ok(!answer.text.includes(part), `it holds ${JSON.stringify(part)}`);
  },
  // Reading the answer has parsed each of them.
  everyEventIsJson: (expected: boolean, { answer }) => assert.equal(answer.events.length > 0, expected),
  bodyLength: (expected: number, { answer }) => assert.equal(answer.text.length, expected),

  responseHeadersAreAscii: (expected: boolean, { answer }) =>
    assert.equal(/^[\x20-\x7e]*$/.test(JSON.stringify(answer.headers)), expected),
  responseHeadersPresent: (expected: readonly string[], { answer }) => {
    for (const name of expected) assert.ok(answer.headers[name] !== undefined, `no ${name}`);
  },
  responseHeadersAbsent: (expected: readonly string[], { answer }) => {
    for (const name of expected) assert.equal(answer.headers[name], undefined, name);
  },
  responseHeaderIncludes: (expected: Readonly<Record<string, readonly string[]>>, { answer }) => {
    for (const [name, parts] of Object.entries(expected)) {
      for (const part of parts) assert.ok(String(answer.headers[name]).includes(part), `${name}: ${part}`);
    }
  },
  retryAfterAtLeast: (expected: number, { answer }) => {
    const text = String(answer.headers['retry-after']);
    assert.match(text, /^\d+$/, 'whole seconds');
    assert.ok(Number(text) >= expected, `Retry-After: ${text}`);
  },

  upstreamRequests: (expected: number, { stage }) => assert.equal(stage.a.requests.length, expected),
  upstreamBodyContains: (expected: readonly string[], { stage }) => {
    const body = stage.a.requests[0]?.body ?? '';
    for (const part of expected)
      assert.ok(body.includes(part), `${part} did not reach the back end: ${body}`);
  },
  processAlive: async (expected: boolean, { stage }) =>
    assert.equal((await statusOf(`${stage.url}/readyz`)) === 200, expected),

  keepAlivesAtLeast: (expected: number, { answer }) =>
    assert.ok(answer.keepAlives >= expected, `${answer.keepAlives} keep-alives`),
  maxSilenceMs: (expected: number, { answer }) => {
    const times = [answer.sentAt, ...answer.reads.map(({ at }) => at)];
    const silences = times.slice(1).map((at, index) => at - times[index]!);
    assert.ok(Math.max(...silences) <= expected + GRACE_MS, `silences of ${silences.map(Math.round)} ms`);
  },
  // Whoever holds an event back has not sent it when the next one is made.
  perEventLatencyMsMax: (_expected: number, { answer, stage }) => {
    const written = stage.a.requests[0]?.writtenAt ?? [];
    const spoken = answer.events.filter(({ value }) => /"(content|text)":"[^"]/.test(JSON.stringify(value)));
    assert.ok(spoken.length > 1, 'several events');
    for (const [index, { at }] of spoken.slice(0, -1).entries()) {
      assert.ok(at < (written[index + 1] ?? 0), `event ${index} came after the next was made`);
    }
  },
  // That they are not too late is checked by hand, against the next event.
  ttftMsBetween: ([low]: readonly number[], { stage }) => assertFirst(stage, 'token', low!),
  firstAnswerMsBetween: ([low]: readonly number[], { stage }) => assertFirst(stage, 'answer', low!),
};

async function assertFirst(stage: Stage, what: 'token' | 'answer', lowMs: number): Promise<void> {
  await stage.metricIs(`sluice_time_to_first_${what}_seconds_count`, 1);
  const tookMs = 1_000 * (await stage.metric(`sluice_time_to_first_${what}_seconds_sum`));
  assert.ok(tookMs >= lowMs, `the clock of the first ${what} stopped after ${tookMs} ms`);
}

interface ExpectedCall {
  readonly index: number;
  readonly id?: string;
  readonly name: string;
  readonly arguments?: string;
  readonly argumentsJson?: unknown;
}

function checkToolCalls(expected: readonly ExpectedCall[], { answer }: Seen): void {
  const { toolCalls } = choiceOf(answer);
  assert.equal(toolCalls.length, expected.length, answer.text.slice(0, 1_000));
  for (const [place, call] of toolCalls.entries()) {
    const { index, id, name, arguments: text, argumentsJson } = expected[place]!;
    assert.deepEqual([call.index, call.type, call.name], [index, 'function', name]);
    assert.notEqual(call.id, '', 'each call has an id');
    if (id !== undefined) assert.equal(call.id, id);
    if (text !== undefined) assert.equal(call.arguments, text);
    if (argumentsJson !== undefined) assert.deepEqual(JSON.parse(call.arguments), argumentsJson);
  }
  assert.equal(new Set(toolCalls.map(({ id }) => id)).size, toolCalls.length, 'ids are not shared');
}

function checkChoices(
  expected: readonly { readonly index: number; readonly content: string; readonly finish: string }[],
  { answer }: Seen,
): void {
  assert.equal(answer.choices.size, expected.length);
  for (const { index, content, finish } of expected) {
    const choice = choiceOf(answer, index);
    assert.deepEqual([choice.content, choice.finish], [content, finish], `choice ${index}`);
  }
}
