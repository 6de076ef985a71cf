// What this server serves, and to whom: an immutable picture. A change makes a new one; a request holds the one that
// it began with, so nothing shifts under it.
import type { Backend, ModelType } from './backend.ts';
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
  /** Identical requests of a tenant that are decided by what they ask are computed once while they are under way. */
  readonly coalesces?: boolean | undefined;
  /** How such answers are kept for later requests; absent: they are not. */
  readonly answerCache?: AnswerCachePolicy | undefined;
  /** Absent: conversations stay as long as they are. */
  readonly trim?: TrimPolicy | undefined;
  /** What may be given up of an answer before it is refused; absent: nothing. */
  readonly degrade?: DegradePolicy | undefined;
  /** Its streams leave evenly where its back ends give them in bursts. */
  readonly isPaced?: boolean | undefined;
  /** Its streams can be resumed where their requests do not say. */
  readonly isResumable?: boolean | undefined;
  /** What it is for, and for nothing else, by its owner's word; absent: for what its back ends are. */
  readonly type?: ModelType | undefined;
  /** What all keys together may use of it; absent: there is no such limit. */
  readonly limits?: UsageLimits | undefined;
}

/** How a long conversation is shortened. */
export interface TrimPolicy {
  /** Estimated. */
  readonly maxTokens: number;
  /** Also where there is time for all of it. */
  readonly always: boolean;
}

/** What may be given up where a model is asked for more than it can do. Absent, each: it is not. */
export interface DegradePolicy {
  /** Who answers in its place. Its own policy does not count then. */
  readonly smallerModel?: ServedModel | undefined;
  /** The most tokens that an answer then has. */
  readonly shorterTokens?: number | undefined;
  readonly spill?: SpillPolicy | undefined;
}

/** Where calls go that the model's own back ends have no room for. */
export interface SpillPolicy {
  /** Preferred first, never empty; none of them is the model's own. */
  readonly backends: readonly Backend[];
  /** What may be spent there within 24 hours. */
  readonly budgetPerDay: number;
  /** The dearest one's. */
  readonly price: Price;
}

/** How long answers are kept, and how much of them. */
export interface AnswerCachePolicy {
  readonly ttlMs: number;
  readonly maxBytes: number;
}

/** Back ends to which any model's name may be sent. */
export type OpenModels = Pick<ServedModel, 'backends' | 'tiers' | 'created' | 'prices'>;

/** What may be used in a time; absent, each: any number. */
export interface UsageLimits {
  /** Calls at once, running or waiting. */
  readonly maxParallel?: number | undefined;
  /** Requests a minute, an hour, a day. */
  readonly rpm?: number | undefined;
  readonly rph?: number | undefined;
  readonly rpd?: number | undefined;
  /** Tokens a minute, a day, of prompts and answers. */
  readonly tpm?: number | undefined;
  readonly tpd?: number | undefined;
  /** What the requests may cost a day, in the currency of the prices. */
  readonly dailyBudget?: number | undefined;
}

/** Someone who may call, and what of everything. The secret itself is not kept: only its SHA-256. */
export interface AccessKey extends UsageLimits {
  /** Whose key it is: for logs, and to keep tenants apart. */
  readonly tenant: string;
  readonly digest: Buffer;
  /** The model ids it may use; absent: all. */
  readonly models: readonly string[] | undefined;
  /** What it may use of single models, by their ids: beside its own limits, which hold as well. */
  readonly modelLimits?: ReadonlyMap<string, UsageLimits> | undefined;
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
