// How a case is played where nothing particular is needed: its upstream speaks, its request is sent in each of its forms,
// and everything in `assert` is checked.
import type { TestContext } from 'node:test';
import { streamOf } from '../upstream/answers.ts';
import { bodyBytes, oneByteAWrite, type Script } from '../upstream/script.ts';
import { type Answer, readAnswer } from './answer.ts';
import { type CaseRequest, type HardCase, requestOf, upstreamOf } from './cases.ts';
import { checkExpected } from './expectations.ts';
import { expectedIn, type Mode, modesOf, requestIn } from './modes.ts';
import { SETUPS } from './setups.ts';
import { type Setup, type Stage, withStage } from './stage.ts';

/** Plays one case by hand. */
export type Play = (one: HardCase, t: TestContext) => Promise<void>;

/** Of a body that is played once more with one byte a write. */
const MOST_CUT_BYTES = 16 * 1024;

export function setupOf({ id }: HardCase): Setup {
  return SETUPS[id] ?? {};
}

/** A small request for the model `case`, streamed. */
export function chatRequest(
  members: object = {},
  headers: Readonly<Record<string, string>> = {},
): CaseRequest {
  const messages = [{ role: 'user', content: 'hi' }];
  const body = { model: 'case', messages, stream: true, ...members };
  return { method: 'POST', path: '/v1/chat/completions', headers, body };
}

/** Says of what goes wrong what was played. */
export async function during<Result>(what: string, play: () => Promise<Result>): Promise<Result> {
  try {
    return await play();
  } catch (thrown) {
    throw new Error(`${what}: ${(thrown as Error).message}`, { cause: thrown });
  }
}

/** An answer's stream in every form that can show it; a framing case also with one byte a write. */
export async function playInModes(one: HardCase): Promise<void> {
  const script = upstreamOf(one);
  for (const mode of modesOf(one)) {
    await during(mode, () => playMode(one, mode, script));
    if (one.group !== 'framing' || bodyBytes(script) > MOST_CUT_BYTES) continue;
    await during(`${mode}, one byte a write`, () => playMode(one, mode, oneByteAWrite(script)));
  }
}

/** The request as it stands. A back end that the case does not tell of gives a good answer. */
export async function playOnce(one: HardCase, further?: (stage: Stage, answer: Answer) => Promise<void>) {
  await withStage(setupOf(one), async (stage) => {
    stage.a.play(one.upstream ?? streamOf('ok'));
    const answer = await stage.answer(requestOf(one));
    await checkExpected({ answer, stage }, one.expected);
    await further?.(stage, answer);
  });
}

/** What a script makes of a small request, on a stage of its own. */
export async function answerTo(script: Script, setup: Setup = {}, request = chatRequest()): Promise<Answer> {
  let answer: Answer | undefined;
  await withStage(setup, async (stage) => {
    stage.a.play(script);
    answer = readAnswer(await stage.ask(request).answer);
  });
  return answer!;
}

async function playMode(one: HardCase, mode: Mode, script: Script): Promise<void> {
  await withStage(setupOf(one), async (stage) => {
    stage.a.play(script);
    const answer = await stage.answer(requestIn(mode, requestOf(one)));
    await checkExpected({ answer, stage }, expectedIn(mode, one));
  });
}
