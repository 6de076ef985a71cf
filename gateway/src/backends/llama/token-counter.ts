// How many tokens a prompt has, asked of the engine's process: one prompt after the other, so that what nobody waits for any
// more is not tokenized. It must never be waited for longer than its limit, and never fail because the engine does: a count
// is not worth an error.
import type { GatewayError } from '../../core/errors.ts';
import type { EngineCalls } from './engine-calls.ts';
import type { EnginePrompt } from './messages.ts';

const LIMIT_MS = 2_000;

export class TokenCounter {
  private readonly calls: EngineCalls;
  private readonly limitMs: number;
  /** Settled when who came last has left. */
  private turn: Promise<void> = Promise.resolve();

  constructor(calls: EngineCalls, limitMs = LIMIT_MS) {
    this.calls = calls;
    this.limitMs = limitMs;
  }

  /**
   * Undefined where the engine is gone or has not told within the limit. Rejects with the signal's reason, and with what is
   * wrong with the prompt.
   */
  async count(prompt: EnginePrompt, signal: AbortSignal): Promise<number | undefined> {
    const late = AbortSignal.timeout(this.limitMs);
    const before = this.turn;
    const left = Promise.withResolvers<void>();
    this.turn = left.promise;
    try {
      const ending = AbortSignal.any([signal, late]);
      await settledOrAborted(before, ending);
      const message = (call: number) => ({ type: 'count', call, prompt }) as const;
      return (await this.calls.run({ message, signal: ending })).promptTokens;
    } catch (error) {
      signal.throwIfAborted();
      if (late.aborted || (error as GatewayError).code === 'backend_failed') return undefined;
      throw error;
    } finally {
      // Who gives up while waiting makes nobody's turn come sooner.
      void before.then(left.resolve);
    }
  }
}

/** Rejects with the signal's reason. */
function settledOrAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort));
}
