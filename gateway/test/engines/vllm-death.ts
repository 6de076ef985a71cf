// vLLM is killed in mid-answer, and the embedded engine goes on: what the client read, and what had happened, as a transcript.
import assert from 'node:assert/strict';
import { flawOf, readChat } from '../e2e/chat-stream.ts';
import { type Sluice, startSluice } from '../e2e/harness.ts';
import { complete, type Message } from './engine.ts';
import type { Vllm } from './vllm-engine.ts';

const MESSAGES: readonly Message[] = [{ role: 'user', content: 'Tell me how a river comes to the sea.' }];
const TOKENS = 96;
/** Pieces that the client has when vLLM is killed. */
const KILL_AFTER = 24;
const BODY = { messages: MESSAGES, max_tokens: TOKENS, temperature: 0 };

/** Resolves to the transcript, as Markdown. Rejects where a character was lost or said twice. vLLM is dead afterwards. */
export async function killInMidAnswer(vllm: Vllm, modelFile: string): Promise<string> {
  const sluice = await startSluice({
    args: ['--model', modelFile],
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
    return await watch(sluice, vllm);
  } finally {
    await sluice.stop();
  }
}

async function watch(sluice: Sluice, vllm: Vllm): Promise<string> {
  const moments: { readonly at: number; readonly text: string }[] = [];
  let killed: { readonly at: number; readonly text: string } | undefined;
  const seen = await readChat(sluice.url, { ...BODY, model: 'story' }, (text) => {
    moments.push({ at: performance.now(), text });
    if (moments.length !== KILL_AFTER) return;
    vllm.kill();
    killed = { at: performance.now(), text };
  });
  assert.equal(flawOf(seen, seen.text), undefined);
  assert.ok(killed, 'the answer had ended before');
  assert.equal(seen.continued, 1, 'it did not go on elsewhere');
  assert.equal(seen.backend, 'vllm');
  // Some pieces were on their way when it died: the longest silence after that is where the other one took over.
  const later = moments.slice(KILL_AFTER - 1);
  const gaps = later.slice(1).map(({ at }, index) => at - later[index]!.at);
  const silenceMs = Math.max(...gaps);
  const before = later[gaps.indexOf(silenceMs)]!.text;
  const rest = seen.text.slice(before.length);
  const direct = await embeddedSays(sluice, before);
  const isSame = direct.some((text) => before.trimEnd() + text === seen.text);
  return [
    `> ${MESSAGES[0]!.content}`,
    '',
    'vLLM said:',
    '',
    quoted(before),
    '',
    `SIGKILL after ${KILL_AFTER} pieces. The client heard nothing for ${Math.round(silenceMs)} ms; then the embedded engine, from the text so far:`,
    '',
    quoted(rest),
    '',
    `One stream: ${seen.ids.length} id, ${seen.roles} role, finish reason \`${seen.finishes[0]}\`, ${seen.completionTokens} tokens, \`continued: ${seen.continued}\`.`,
    `Asked directly to go on from the same text, the embedded engine says ${isSame ? 'the same' : 'something else (its batches differ)'}.`,
  ].join('\n');
}

/** The embedded engine's own going on from a text; twice, since what it kept may change a greedy text. */
async function embeddedSays(sluice: Sluice, given: string): Promise<string[]> {
  const texts: string[] = [];
  for (let time = 0; time < 2; time += 1) {
    const answer = await complete(`${sluice.url}/v1`, 'chat/completions', {
      ...BODY,
      model: 'embedded-alone',
      messages: [...MESSAGES, { role: 'assistant', content: given.trimEnd() }],
      max_tokens: TOKENS - KILL_AFTER,
      continue_final_message: true,
      add_generation_prompt: false,
    });
    texts.push(answer.choices[0]!.message?.content ?? '');
  }
  return texts;
}

function quoted(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`.trimEnd())
    .join('\n');
}
