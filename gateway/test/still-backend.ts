// A back end that computes nothing, and calls that ask for it: where only the order in which slots are given matters.
import type { Backend, BackendLoad } from '../src/core/backend.ts';
import type { Ticket } from '../src/core/ticket.ts';

export class StillBackend implements Backend {
  readonly id: string;
  readonly continues: Backend['continues'];
  readonly listeners = new Set<() => void>();
  /** What it says to who has nobody else; a yes is good for one call. */
  mayBeTried = false;
  #load: BackendLoad;

  constructor(id: string, slots: number, continues?: Backend['continues']) {
    this.id = id;
    this.continues = continues;
    this.#load = { state: 'ready', slots };
  }

  change(state: BackendLoad['state'], slots = 0, reason?: string, retryAfterMs?: number): void {
    this.changeInSilence(state, slots, reason, retryAfterMs);
    for (const listener of this.listeners) listener();
  }

  /** As time alone changes it. */
  changeInSilence(state: BackendLoad['state'], slots = 0, reason?: string, retryAfterMs?: number): void {
    this.#load = { state, slots, reason, retryAfterMs };
  }

  load(): BackendLoad {
    return this.#load;
  }

  tryNow(): boolean {
    if (!this.mayBeTried) return false;
    this.mayBeTried = false;
    this.#load = { state: 'ready', slots: 1 };
    return true;
  }

  onLoadChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  chat(): Promise<void> {
    return Promise.reject(new Error('not asked here'));
  }

  async close(): Promise<void> {
    this.change('closed');
  }
}

export function ticketFor(backends: readonly Backend[], rest: Partial<Ticket> = {}): Ticket {
  return {
    id: 'call',
    model: 'model',
    backends,
    tenant: 'someone',
    priority: 'standard',
    resumes: false,
    deadlineAt: undefined,
    signal: new AbortController().signal,
    cost: { promptTokens: 5, outputTokens: 5 },
    ...rest,
  };
}
