// What the scheduler knows of a call: enough to decide when and where it runs, and nothing of its content.
import type { Backend } from './backend.ts';
import type { Price } from './price.ts';
import type { Priority } from './priority.ts';

/** What a call is expected to cost, in tokens. Estimated: exact counts are the engine's, and only refuse. */
export interface Cost {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

export interface Ticket {
  /** The request's id, as the client sees it. */
  readonly id: string;
  /** The model asked for. */
  readonly model: string;
  /** Who can compute it, preferred first: from the World in which the request began. */
  readonly backends: readonly Backend[];
  /** The tier of each of them, rising; absent: each is a tier of its own. Within a tier the least busy one is taken. */
  readonly tiers?: readonly number[] | undefined;
  /** Those that have failed this call: it does not go to them again. */
  readonly excluded?: ReadonlySet<Backend> | undefined;
  /** Whose call it is. */
  readonly tenant: string;
  readonly priority: Priority;
  /** When the first token is due, on the scheduler's clock; absent: no promise was made. */
  readonly deadlineAt: number | undefined;
  /** It had its turn and lost its back end, perhaps in the middle of an answer: it goes before those who wait. */
  readonly resumes: boolean;
  /** A more urgent call took its slot: it waits in its class like others, but no full queue and no prediction refuses it. */
  readonly wasPreempted?: boolean | undefined;
  /** There is another way to its answer, which is tried where it is turned away: no place is booked for it then. */
  readonly isTrial?: boolean | undefined;
  /** Aborted when nobody wants the answer any more; its reason is a GatewayError. */
  readonly signal: AbortSignal;
  readonly cost: Cost;
  /** What its back ends cost, by their ids; one that is not there costs nothing. */
  readonly prices?: ReadonlyMap<string, Price> | undefined;
  /** Its tenant's share of what is computed where tenants wait at once, against the others'; absent: 1. */
  readonly weight?: number | undefined;
  /** What its prompt begins with; absent: it is like no other. */
  readonly prefix?: PromptPrefix | undefined;
  /** What its client calls the conversation that it belongs to. */
  readonly session?: string | undefined;
}

/** How a prompt begins, in blocks, for those who know what a back end has computed. Worked out when first asked for. */
export interface PromptPrefix {
  /** A hash for each whole block of 256 bytes, each over all that came before it: equal hashes mean equal beginnings. */
  readonly blocks: readonly number[];
  /** What stands behind the last of them, in blocks: below 1; absent: nothing does. */
  readonly rest?: number | undefined;
  /** Over the whole prompt. */
  readonly whole: number;
}

/** How a call left its back end, for limits and breakers: `ignored` says nothing about the back end's health. */
export type Outcome = 'ok' | 'overload' | 'ignored';
