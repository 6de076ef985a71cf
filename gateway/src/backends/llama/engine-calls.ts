// The calls that the engine's process has: each is sent, told what comes of it, given up when nobody wants it any more, and
// lost when the process dies. It must never know what a call computes, and never tell one that was given up anything more.
import type { Usage } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { CallEvent, ToChild } from './messages.ts';

export interface EngineCallsOptions {
  readonly send: (message: ToChild) => void;
  /** Ends a process that hangs. */
  readonly kill: (reason: string) => void;
}

export interface NewCall {
  /** What is sent, by the number that the call has. */
  readonly message: (call: number) => ToChild;
  readonly signal: AbortSignal;
  /** Told each event but a failure, in order; what it throws ends the call. */
  readonly onEvent?: ((event: AnswerEvent) => void) | undefined;
  /**
   * It holds one of the engine's places until the engine says that it is over: after the step under way, where it was given
   * up; an engine that needs longer than this hangs. Absent: it holds nothing, and is not waited for.
   */
  readonly stuckAfterMs?: number | undefined;
}

type AnswerEvent = Exclude<CallEvent, { type: 'failed' }>;

interface RunningCall {
  readonly take: (event: CallEvent) => void;
  readonly lose: (error: GatewayError) => void;
}

export class EngineCalls {
  private readonly options: EngineCallsOptions;
  private readonly running = new Map<number, RunningCall>();
  private lastCall = 0;
  private held = 0;

  constructor(options: EngineCallsOptions) {
    this.options = options;
  }

  /** Places that are held. */
  get places(): number {
    return this.held;
  }

  /** Resolves with the usage when the engine has ended the call. Rejects as `Backend.chat` does. */
  run({ message, signal, onEvent, stuckAfterMs }: NewCall): Promise<Usage> {
    const call = ++this.lastCall;
    const holdsPlace = stuckAfterMs !== undefined;
    const { promise, resolve, reject } = Promise.withResolvers<Usage>();
    /** Why nobody wants the answer any more; the engine may not know yet. */
    let givenUp: { readonly reason: unknown } | undefined;
    let stuckTimer: NodeJS.Timeout | undefined;

    const settle = (outcome: () => void): void => {
      if (!this.running.delete(call)) return;
      if (holdsPlace) this.held--;
      clearTimeout(stuckTimer);
      signal.removeEventListener('abort', onAbort);
      outcome();
    };
    const giveUp = (reason: unknown): void => {
      if (givenUp !== undefined) return;
      givenUp = { reason };
      if (!holdsPlace) {
        settle(() => reject(reason));
        return;
      }
      this.options.send({ type: 'cancel', call });
      stuckTimer = setTimeout(() => {
        this.options.kill(`it did not end a cancelled call within ${stuckAfterMs / 1000} s`);
        settle(() => reject(reason));
      }, stuckAfterMs).unref();
    };
    const onAbort = (): void => giveUp(signal.reason);
    const fail = (error: GatewayError): void =>
      settle(() => reject(givenUp === undefined ? error : givenUp.reason));

    this.running.set(call, {
      take: (event) => {
        if (event.type === 'failed') {
          const { code, message: told, param } = event.error;
          fail(new GatewayError(code, told, { param }));
          return;
        }
        try {
          if (givenUp === undefined) onEvent?.(event);
        } catch (error) {
          giveUp(error);
        }
        if (event.type !== 'end') return;
        const { usage } = event;
        settle(() => (givenUp === undefined ? resolve(usage) : reject(givenUp.reason)));
      },
      lose: fail,
    });
    if (holdsPlace) this.held++;
    signal.addEventListener('abort', onAbort, { once: true });
    this.options.send(message(call));
    return promise;
  }

  /** What the engine tells; of a call that is over nothing matters any more. */
  take(event: CallEvent): void {
    this.running.get(event.call)?.take(event);
  }

  /** The process is gone. */
  lose(reason: string): void {
    for (const { lose } of [...this.running.values()]) lose(new GatewayError('backend_failed', reason));
  }
}
