// Every built-in fault of the faulty upstream against the whole server: an answer that is not good is an honest error, in
// bounded memory, and the next request is served.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitUntil } from '../e2e/harness.ts';
import { streamOf } from '../upstream/answers.ts';
import { BUILT_IN_SCRIPTS } from '../upstream/built-in-scripts.ts';
import type { Answer } from './answer.ts';
import { choiceOf } from './expectations.ts';
import { type Mode, requestIn, STREAMED } from './modes.ts';
import { chatRequest, during } from './play.ts';
import { MEBIBYTE, warmUp, watchMemory } from './processes.ts';
import { type Setup, type Stage, withProcess, withStage } from './stage.ts';

const LIMIT_MS = 20_000;
/** A small multiple of the bound on one event. */
const MOST_GROWTH_MB = 96;
const GOOD_TEXT = 'The answer is 42.';
/** Limits that a test can wait for. */
const SETUP: Setup = {
  config: { first_token_timeout_ms: 500, silence_limit_ms: 500, answer_timeout_ms: 500 },
};

/** What those say that are no faults to a good reader. */
const SERVED: Readonly<Record<string, string>> = {
  good: GOOD_TEXT,
  json: GOOD_TEXT,
  'slow-drip': '北京 🌍 fine.',
};
/** Either is right: the bytes are good, their name is not. */
const EITHER: ReadonlySet<string> = new Set(['wrong-type']);
/** They have said something before they fail: a streamed answer has begun by then. */
const CUT_MIDWAY: ReadonlySet<string> = new Set(['reset-midway', 'half-event', 'silent-midway', 'cut']);
const BEGINNING = 'The answer is';
/** Of an answer of which no word was sent, where it is not 502 or 504. */
const STATUS: Readonly<Record<string, number>> = { 'silent-head': 504, silent: 504, 'storm-429': 429 };
/** So large that the server's memory is what matters. */
const LARGE: ReadonlySet<string> = new Set(['endless-line', 'huge-event', 'gzip-bomb']);

const PLAYED: readonly Mode[] = ['sse', 'json', 'responses', 'messages'];

for (const name of Object.keys(BUILT_IN_SCRIPTS)) {
  for (const mode of PLAYED) {
    test(`${name}, ${mode}`, async (t) => {
      if (!LARGE.has(name)) {
        await withStage(SETUP, (stage) => assertFault(stage, name, mode));
        return;
      }
      await withProcess(SETUP, async (stage) => {
        await warmUp(stage);
        const memory = watchMemory(stage);
        await assertFault(stage, name, mode);
        const growthMB = memory.stop() / MEBIBYTE;
        t.diagnostic(`the server grew by ${Math.round(growthMB)} MB`);
        assert.ok(growthMB <= MOST_GROWTH_MB, `it grew by ${growthMB} MB`);
      });
    });
  }
}

async function assertFault(stage: Stage, name: string, mode: Mode): Promise<void> {
  stage.a.play(BUILT_IN_SCRIPTS[name]!.make());
  const answer = await stage.answer(requestIn(mode, chatRequest()));
  await during(answer.text.slice(0, 300), async () => assertOutcome(answer, name, STREAMED.includes(mode)));
  assert.ok(
    stage.a.requests.every(({ path }) => path === '/v1/chat/completions'),
    'nobody is followed elsewhere',
  );
  stage.a.play(streamOf('again'));
  await waitUntil(
    async () => choiceOf(await stage.answer(chatRequest())).content === 'again',
    LIMIT_MS,
    () => 'the next request is not served',
  );
}

function assertOutcome(answer: Answer, name: string, stream: boolean): void {
  const { status, isDone, error } = answer;
  const { content } = choiceOf(answer);
  const served = SERVED[name];
  if (served !== undefined || (EITHER.has(name) && status === 200)) {
    assert.deepEqual([status, content, isDone, error], [200, served ?? GOOD_TEXT, true, undefined]);
    return;
  }
  assert.match(error?.message ?? '', /^[^<>\n]+$/, 'an error is told, and no web page');
  assert.equal(isDone, false);
  if (stream && CUT_MIDWAY.has(name)) assert.deepEqual([status, content], [200, BEGINNING]);
  else assert.ok(name in STATUS ? status === STATUS[name] : status === 502 || status === 504, `${status}`);
}
