// The addresses of one host name, kept for a bounded time, so that a back end that moves is followed without a restart.
// An answer past its time is never used; half of it gone, the next one is asked for while this one still holds.
import { type LookupAddress, type LookupOptions, lookup as systemLookup } from 'node:dns';

type Answer = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void;

/** Asks for all addresses of a name. */
export type Lookup = (name: string, answer: Answer) => void;

export const lookupBySystem: Lookup = (name, answer) =>
  systemLookup(name, { all: true }, (error, addresses) => answer(error, addresses ?? []));

export interface NameAddressesOptions {
  readonly name: string;
  readonly lookup: Lookup;
  /** How long an answer holds, in ms. */
  readonly ttlMs: number;
  /** Monotonic, in ms. */
  readonly now: () => number;
}

export class NameAddresses {
  private readonly options: NameAddressesOptions;
  private known: readonly LookupAddress[] = [];
  private expiresAt = Number.NEGATIVE_INFINITY;
  /** Who waits for the look-up that runs; undefined: none runs. */
  private waiting: Answer[] | undefined;

  constructor(options: NameAddressesOptions) {
    this.options = options;
  }

  /** The look-up of `net.connect`, for this name whatever it is asked for. */
  readonly lookup = (
    _name: string,
    { all }: LookupOptions,
    done: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
  ): void => {
    this.resolve((error, addresses) => {
      const first = addresses[0];
      if (error || !first) done(error ?? notFound(), '');
      else if (all) done(null, [...addresses]);
      else done(null, first.address, first.family);
    });
  };

  /** Whether the name leads to this address; undefined: not known at the moment, it must be looked up. */
  leadsTo(address: string): boolean | undefined {
    const left = this.expiresAt - this.options.now();
    if (left <= 0) return undefined;
    if (left < this.options.ttlMs / 2) this.ask();
    return this.known.some((one) => one.address === address);
  }

  /** Does not believe what is known any longer. */
  forget(): void {
    this.expiresAt = Number.NEGATIVE_INFINITY;
  }

  private resolve(answer: Answer): void {
    if (this.options.now() < this.expiresAt) answer(null, this.known);
    else this.ask(answer);
  }

  /** All who ask while a look-up runs share it. */
  private ask(answer?: Answer): void {
    if (this.waiting) {
      if (answer) this.waiting.push(answer);
      return;
    }
    const waiting = answer ? [answer] : [];
    this.waiting = waiting;
    this.options.lookup(this.options.name, (error, addresses) => {
      this.waiting = undefined;
      if (!error && addresses.length > 0) {
        this.known = addresses;
        this.expiresAt = this.options.now() + this.options.ttlMs;
      }
      for (const one of waiting) one(error, addresses);
    });
  }
}

function notFound(): NodeJS.ErrnoException {
  return Object.assign(new Error('The name has no address.'), { code: 'ENOTFOUND' });
}
