// A remote back end in front of a faulty upstream, and calls of it: for tests of what goes out and what comes back.
// Whatever is opened here ends with its test.
import type { TestContext } from 'node:test';
import { RemoteBackend, type RemoteBackendOptions } from '../../src/backends/remote/remote-backend.ts';
import type { CallOrigin } from '../../src/core/backend.ts';
import type { ChatRequest, TokenEvent } from '../../src/core/chat.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { waitUntil } from '../e2e/harness.ts';
import { startUpstream, type Upstream } from './faulty-upstream.ts';

export interface RemoteOnUpstream {
  readonly backend: RemoteBackend;
  readonly upstream: Upstream;
  /** What it has logged, with the fields as JSON. */
  readonly log: readonly string[];
}

/** A call under way. */
export interface RemoteCall {
  /** So far. */
  readonly events: readonly TokenEvent[];
  /** Rejects with the call's GatewayError. */
  readonly done: Promise<void>;
  readonly leave: () => void;
}

const READY_LIMIT_MS = 10_000;
/** None of the limits is met unless a test sets it. */
const NEVER_MS = 600_000;

/** Resolves when it is ready. `origin`: of its url, where that is not the upstream's. */
export async function openRemote(
  t: TestContext,
  options: Partial<RemoteBackendOptions> = {},
  origin?: string,
): Promise<RemoteOnUpstream> {
  const upstream = await startUpstream();
  const log: string[] = [];
  const backend = new RemoteBackend({
    id: 'remote',
    url: `${origin ?? upstream.url}/v1`,
    kind: 'generic',
    firstTokenTimeoutMs: NEVER_MS,
    silenceLimitMs: NEVER_MS,
    answerTimeoutMs: NEVER_MS,
    probeIntervalMs: NEVER_MS,
    env: {},
    log: (level, message, fields) => log.push(`${level} ${message} ${JSON.stringify(fields)}`),
    ...options,
  });
  t.after(async () => {
    await backend.close();
    await upstream.close();
  });
  backend.start();
  await waitUntil(
    () => backend.load().state === 'ready',
    READY_LIMIT_MS,
    () => `it is ${JSON.stringify(backend.load())}`,
  );
  return { backend, upstream, log };
}

/** A small conversation for the model `case`, with these members instead. */
export function callRemote(
  backend: RemoteBackend,
  members: Partial<ChatRequest> = {},
  origin?: CallOrigin,
): RemoteCall {
  const events: TokenEvent[] = [];
  const controller = new AbortController();
  const request: ChatRequest = {
    model: 'case',
    prompt: { kind: 'messages', messages: [{ role: 'user', content: 'hi' }] },
    sampling: {},
    stop: [],
    choices: 1,
    extra: {},
    ...members,
  };
  const context = { callId: 'call', tenant: 'tenant', signal: controller.signal, origin };
  const done = backend.chat(request, context, (event) => events.push(event));
  // Who looks at it later still gets the rejection.
  done.catch(() => {});
  return {
    events,
    done,
    leave: () => controller.abort(new GatewayError('cancelled', 'The client left.')),
  };
}

/** All that an answer's events say. */
export function textOf(events: readonly TokenEvent[]): string {
  return events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
}

/** What goes on where an answer stands: this text, after this thought. */
export function begun(text: string, reasoning = '', pieces = 2): Partial<ChatRequest> {
  const choice = { text, reasoning, toolCalls: [], pieces, reason: undefined };
  return { continueFrom: { speaker: 'up', choices: [choice], usage: undefined } };
}
