// What this server serves, and to whom: an immutable picture. A change makes a new one; a request holds the one that
// it began with, so nothing shifts under it.
import type { Backend } from './backend.ts';
import type { Price } from './price.ts';
import type { Priority } from './priority.ts';

/** A model as clients know it. */
export interface ServedModel {
  /** What clients put in `model`. */
  readonly id: string;
  /** Who really speaks. */
  readonly speaker: string;
  /** Tokens that prompt and answer share, where known. */
  readonly contextWindow: number | undefined;
  /** SPDX id of the weights' licence, where known. */
  readonly licence: string | undefined;
  /** Seconds since the epoch. */
  readonly created: number;
  /** Who can compute it, preferred first. Never empty. */
  readonly backends: readonly Backend[];
  /** The tier of each of them, rising; absent: each is a tier of its own. */
  readonly tiers?: readonly number[] | undefined;
  /** What a back end calls it, by the back end's id; absent: as clients do. */
  readonly names?: ReadonlyMap<string, string> | undefined;
  /** When the first token is due where a request does not say, in ms. */
  readonly firstTokenObjectiveMs?: number | undefined;
  /** Of its requests where neither they nor their kind say; absent: by their kind. */
  readonly priority?: Priority | undefined;
  /** What back ends cost, by their ids; one that is not there costs nothing. */
  readonly prices?: ReadonlyMap<string, Price> | undefined;
}

/** Back ends to which any model's name may be sent. */
export type OpenModels = Pick<ServedModel, 'backends' | 'tiers' | 'created' | 'prices'>;

/** Someone who may call. The secret itself is not kept: only its SHA-256. */
export interface AccessKey {
  /** Whose key it is: for logs, and to keep tenants apart. */
  readonly tenant: string;
  readonly digest: Buffer;
  /** The model ids it may use; absent: all. */
  readonly models: readonly string[] | undefined;
  /** Calls that it may have at once, running or waiting; absent, here and below: any number. */
  readonly maxParallel?: number | undefined;
  /** Requests a minute, an hour, a day. */
  readonly rpm?: number | undefined;
  readonly rph?: number | undefined;
  readonly rpd?: number | undefined;
  /** Tokens a minute, a day, of prompts and answers. */
  readonly tpm?: number | undefined;
  readonly tpd?: number | undefined;
  /** What its requests may cost a day, in the currency of the prices. */
  readonly dailyBudget?: number | undefined;
  /** The highest priority that its requests have, whatever they ask for. */
  readonly priority?: Priority | undefined;
  /** Its share of what is computed where keys wait at once, against the others'; absent: 1. */
  readonly weight?: number | undefined;
}

export interface World {
  /** By every name that clients may use: a model with aliases is there more than once. */
  readonly models: ReadonlyMap<string, ServedModel>;
  /** Who gets the models that are not in the list; absent: they are unknown. */
  readonly openModels?: OpenModels | undefined;
  /** Empty: an open server, which is only ever bound to loopback. */
  readonly keys: readonly AccessKey[];
  /** Keeps its back ends open, also when a new picture has them no more, until the returned function is called. */
  readonly hold?: (() => () => void) | undefined;
}

/** What `/readyz` says. `restarting`: requests are taken and wait. `starting`, `draining`, `failed`: they are refused. */
export interface Readiness {
  readonly state: 'starting' | 'ready' | 'restarting' | 'draining' | 'failed';
  /** A sentence for people. */
  readonly reason: string;
  /** How far the model's download is, 0 to 1, while there is one. */
  readonly progress?: number | undefined;
}
