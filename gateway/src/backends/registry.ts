// Which back ends there are, from one configuration to the next: what stays the same is the same object, with its calls, its
// health and its connections; what is gone is closed when nobody who began with it is left. Closing ends running calls, so
// it never comes sooner. What a configuration of a back end holds is not its concern.
import { isDeepStrictEqual } from 'node:util';
import type { Backend } from '../core/backend.ts';
import type { Log } from '../core/log.ts';

/** The back ends of one configuration, in its order. */
export interface BackendSet {
  readonly backends: readonly Backend[];
  /** Keeps all of them open until the returned function is called. A set that is gone can still be held by who has it. */
  hold(): () => void;
}

interface Entry<C> {
  readonly config: C;
  readonly backend: Backend;
}

/** `C`: what a back end is made of. Two that are deeply equal make one and the same back end. */
export class BackendRegistry<C extends { readonly id: string }> {
  readonly #make: (config: C) => Backend;
  readonly #log: Log;
  /** Of the newest set, by id. */
  #entries = new Map<string, Entry<C>>();
  #newest: HeldSet | undefined;
  /** Older sets that somebody holds. */
  readonly #older = new Set<HeldSet>();
  /** Every back end that was made and not closed. */
  readonly #open = new Set<Backend>();

  /** `make` may throw: then nothing has changed. */
  constructor(make: (config: C) => Backend, log: Log) {
    this.#make = make;
    this.#log = log;
  }

  /** Takes a configuration's back ends; their ids are unique. Throws what `make` throws. */
  apply(configs: readonly C[]): BackendSet {
    const entries = this.#entriesOf(configs);
    const before = this.#newest;
    if (before?.isHeld) this.#older.add(before);
    this.#entries = entries;
    const backends = [...entries.values()].map(({ backend }) => backend);
    for (const backend of backends) this.#open.add(backend);
    this.#newest = new HeldSet(backends, (set) => {
      if (this.#older.delete(set)) this.#closeUnused();
    });
    this.#closeUnused();
    return this.#newest;
  }

  /** Those of the newest set and those that still end, in no order. */
  get open(): readonly Backend[] {
    return [...this.#open];
  }

  /** Ends all of them and their calls. */
  async close(): Promise<void> {
    this.#newest = undefined;
    this.#entries.clear();
    this.#older.clear();
    const closing = [...this.#open].map((backend) => this.#close(backend));
    await Promise.all(closing);
  }

  #entriesOf(configs: readonly C[]): Map<string, Entry<C>> {
    const entries = new Map<string, Entry<C>>();
    const made: Backend[] = [];
    try {
      for (const config of configs) {
        const kept = this.#entries.get(config.id);
        if (kept && isDeepStrictEqual(kept.config, config)) {
          entries.set(config.id, kept);
          continue;
        }
        const backend = this.#make(config);
        made.push(backend);
        entries.set(config.id, { config, backend });
      }
    } catch (thrown) {
      for (const backend of made) void this.#close(backend);
      throw thrown;
    }
    return entries;
  }

  #closeUnused(): void {
    for (const backend of this.#open) {
      if (this.#newest?.has(backend)) continue;
      if ([...this.#older].some((set) => set.has(backend))) continue;
      void this.#close(backend);
    }
  }

  async #close(backend: Backend): Promise<void> {
    this.#open.delete(backend);
    try {
      await backend.close();
    } catch (thrown) {
      this.#log('warn', 'A back end could not be closed.', {
        backend: backend.id,
        reason: (thrown as Error).message,
      });
    }
  }
}

class HeldSet implements BackendSet {
  readonly backends: readonly Backend[];
  readonly #members: ReadonlySet<Backend>;
  readonly #onFree: (set: HeldSet) => void;
  #holders = 0;

  constructor(backends: readonly Backend[], onFree: (set: HeldSet) => void) {
    this.backends = backends;
    this.#members = new Set(backends);
    this.#onFree = onFree;
  }

  get isHeld(): boolean {
    return this.#holders > 0;
  }

  has(backend: Backend): boolean {
    return this.#members.has(backend);
  }

  hold(): () => void {
    this.#holders += 1;
    let isHolding = true;
    return () => {
      if (!isHolding) return;
      isHolding = false;
      this.#holders -= 1;
      if (this.#holders === 0) this.#onFree(this);
    };
  }
}
