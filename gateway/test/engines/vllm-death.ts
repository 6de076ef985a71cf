// vLLM is killed in mid-answer, and the embedded engine goes on: what the client read, and what had happened, as a transcript.
import assert from 'node:assert/strict';
import { flawOf, readChat } from '../e2e/chat-stream.ts';
import { type Sluice, startSluice, waitUntil } from '../e2e/harness.ts';
import { complete, type Message, withKey } from './engine.ts';
import type { Vllm } from './vllm-engine.ts';

const MESSAGES: readonly Message[] = [{ role: 'user', content: 'Tell me how a river comes to the sea.' }];
const TOKENS = 96;
const READY_LIMIT_MS = 60_000;
/** Pieces that the client has when vLLM is killed. */
const KILL_AFTER = 24;
/** Pieces that may still come from it after that. */
const MOST_ON_THEIR_WAY = 12;
/** What is kept of one tenant no other one gets: each asks as if nobody had before, or a greedy text might change. */
const KEYS = Array.from({ length: 1 + MOST_ON_THEIR_WAY }, (_, index) => `key-${index}`);
const BODY = { messages: MESSAGES, max_tokens: TOKENS, temperature: 0 };

/** Resolves to the transcript, as Markdown. Rejects where a character was lost or said twice. vLLM is dead afterwards. */
export async function killInMidAnswer(vllm: Vllm, modelFile: string): Promise<string> {
  const sluice = await startSluice({
    args: ['--model', modelFile],
    env: { SLUICE_API_KEYS: KEYS.join(',') },
    config: {
      log_level: 'warn',
      engine: { context: vllm.contextTokens, threads: 1 },
      backends: [
        { id: 'vllm', url: vllm.url, kind: vllm.kind },
        { id: 'embedded', kind: 'embedded' },
      ],
      models: [
        { id: 'story', backends: ['vllm', 'embedded'], name: { vllm: vllm.model } },
        { id: 'embedded-alone', backends: ['embedded'] },
      ],
    },
  });
  try {
    // It serves by vLLM while the embedded engine is still being loaded.
    await waitUntil(
      async () => {
        const list = await fetch(`${sluice.url}/v1/models`, withKey(KEYS[0]));
        return (await list.text()).includes('embedded-alone');
      },
      READY_LIMIT_MS,
      () => `the embedded engine did not get ready:\n${sluice.output()}`,
    );
    return await watch(sluice, vllm);
  } finally {
    await sluice.stop();
  }
}

/** A piece as it came, on the monotonic clock in ms, with all the text up to it. */
interface Moment {
  readonly at: number;
  readonly text: string;
}

/** Where the answer passed from the one to the other. */
interface Seam {
  readonly before: string;
  /** The longest that the client heard nothing, thereabouts. */
  readonly silenceMs: number;
}

async function watch(sluice: Sluice, vllm: Vllm): Promise<string> {
  const moments: Moment[] = [];
  const note = (text: string) => {
    moments.push({ at: performance.now(), text });
    if (moments.length === KILL_AFTER) vllm.kill();
  };
  const seen = await readChat(sluice.url, { ...BODY, model: 'story' }, note, withKey(KEYS[0]));
  assert.equal(flawOf(seen, seen.text), undefined);
  assert.equal(seen.continued, 1, 'it did not go on elsewhere');
  assert.equal(seen.backend, 'vllm');
  const { before, silenceMs } = await findSeam(sluice, moments);
  return [
    `> ${MESSAGES[0]!.content}`,
    '',
    'vLLM said:',
    '',
    quoted(before),
    '',
    `SIGKILL. The client heard nothing for ${Math.round(silenceMs)} ms; then the embedded engine, from the text so far:`,
    '',
    quoted(seen.text.slice(before.length)),
    '',
    `One stream: ${seen.ids.length} id, ${seen.roles} role, finish reason \`${seen.finishes[0]}\`, ${seen.completionTokens} tokens, \`continued: ${seen.continued}\`.`,
    'Asked directly to go on from the same text, the embedded engine says the same, to the character.',
  ].join('\n');
}

/**
 * Some pieces were on their way when vLLM was killed, so the seam is somewhere behind the kill: most likely at a long silence.
 * It is where the rest is what the embedded engine says itself to the text before. Rejects if there is no such place.
 */
async function findSeam(sluice: Sluice, moments: readonly Moment[]): Promise<Seam> {
  const whole = moments.at(-1)!.text;
  const places = moments.slice(KILL_AFTER, KILL_AFTER + MOST_ON_THEIR_WAY).map((next, index) => {
    const given = KILL_AFTER + index;
    const last = moments[given - 1]!;
    return { given, before: last.text, silenceMs: next.at - last.at };
  });
  const silenceMs = Math.max(...places.map((place) => place.silenceMs));
  for (const { given, before } of places.sort((a, b) => b.silenceMs - a.silenceMs)) {
    const key = KEYS[1 + given - KILL_AFTER]!;
    const rest = await embeddedSays(sluice, key, before, TOKENS - given);
    if (before.trimEnd() + rest === whole) return { before, silenceMs };
  }
  throw new Error(`The embedded engine itself would not have gone on like this: ${whole}`);
}

/** The embedded engine's own going on from a text. */
async function embeddedSays(sluice: Sluice, key: string, given: string, maxTokens: number): Promise<string> {
  const body = {
    ...BODY,
    model: 'embedded-alone',
    messages: [...MESSAGES, { role: 'assistant', content: given.trimEnd() }],
    max_tokens: maxTokens,
    continue_final_message: true,
    add_generation_prompt: false,
  };
  const answer = await complete(`${sluice.url}/v1`, 'chat/completions', body, key);
  return answer.choices[0]!.message?.content ?? '';
}

function quoted(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`.trimEnd())
    .join('\n');
}
