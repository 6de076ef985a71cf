// What the real-engine tests share: one way to ask, and patience.
// It must never be imported by anything but `*.engine.test.ts`.
import assert from 'node:assert/strict';
import type { ChatRequest, FinishReason, TokenEvent, Usage } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { LlamaBackend } from './llama-backend.ts';

export interface Answer {
  text: string;
  reason: FinishReason | undefined;
  stop: string | undefined;
  usage: Usage;
  /** When each delta came, ms on the monotonic clock. */
  deltasAt: number[];
  events: TokenEvent[];
}

export interface Ask extends Partial<ChatRequest> {
  readonly user?: string;
  readonly tenant?: string;
  readonly signal?: AbortSignal;
  readonly onDelta?: (answer: Answer) => void;
}

export async function chat(backend: LlamaBackend, ask: Ask): Promise<Answer> {
  const { user, tenant, signal, onDelta, ...rest } = ask;
  const answer: Answer = {
    text: '',
    reason: undefined,
    stop: undefined,
    usage: {},
    deltasAt: [],
    events: [],
  };
  const request: ChatRequest = {
    model: 'm',
    prompt: { kind: 'messages', messages: [{ role: 'user', content: user ?? 'Tell me about the sea.' }] },
    sampling: { temperature: 0 },
    maxTokens: 24,
    stop: [],
    choices: 1,
    extra: {},
    ...rest,
  };
  const context = { callId: 'c', tenant: tenant ?? 'a', signal: signal ?? new AbortController().signal };
  await backend.chat(request, context, (event) => {
    answer.events.push(event);
    if (event.type === 'text-delta') {
      answer.text += event.text;
      answer.deltasAt.push(performance.now());
      onDelta?.(answer);
    } else if (event.type === 'choice-end') {
      answer.reason = event.reason;
      answer.stop = event.stop;
    } else if (event.type === 'finish') answer.usage = event.usage;
  });
  return answer;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(condition: () => boolean, ms: number, what: string): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `timed out: ${what}`);
    await sleep(10);
  }
}

export const aborted = (): GatewayError => new GatewayError('cancelled', 'The client left.');
