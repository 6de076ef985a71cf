// What a source is given to fetch a model with, and what it says when it is done. Types and the limits in time only.
// A source writes into the part that it is given and nowhere else but `folder`; it never checks a hash, names a
// default or moves a file: that is the same for all sources and is done once, in pull-model.ts.
import type { CatalogueEntry } from './catalogue.ts';
import type { Environment } from './home.ts';
import type { PartFile } from './part-file.ts';
import type { ProgressMeter } from './progress.ts';

export interface Timings {
  /** Within this a source must answer, or it is passed over. */
  readonly reachMs: number;
  /** The longest silence in the middle of a transfer. */
  readonly stallMs: number;
  /** Pauses before each new try; their number is the number of tries after the first. */
  readonly retryDelaysMs: readonly number[];
  /** How long an interpreter may take until it does anything: a cold disk is not a dead network. */
  readonly startMs: number;
}

export const TIMINGS: Timings = {
  reachMs: 4_000,
  stallMs: 30_000,
  retryDelaysMs: [500, 1_000, 2_000, 4_000],
  startMs: 10_000,
};

/** Said before a download begins. */
export interface Announcement {
  readonly name: string;
  readonly title: string;
  /** Of the weights, as an SPDX id. */
  readonly licence: string;
  /** What will be fetched. */
  readonly bytes: number;
  /** Where it comes from, for people. */
  readonly from: string;
}

export interface SourceContext {
  readonly entry: CatalogueEntry;
  /** The hash that the weights must have, hex, if one is known. */
  readonly sha256: string | undefined;
  readonly env: Environment;
  /** The Python interpreter and its first arguments. */
  readonly python: readonly string[];
  readonly signal: AbortSignal;
  readonly meter: ProgressMeter;
  readonly say: (line: string) => void;
  /** The model's own folder; what a source leaves there beside the part, it removes again. */
  readonly folder: string;
  readonly part: PartFile;
  readonly timings: Timings;
  /**
   * To be called once the source is known to answer, or cannot be asked first, and before anything large is fetched.
   * `diskBytes` is what the disk must still take. Throws `no_space`.
   */
  begin(bytes: number, diskBytes: number, from: string): Promise<void>;
}

/** The part is whole, as far as the source can tell. */
export interface Fetched {
  /** Hex: what the source says the hash is. */
  readonly sha256?: string | undefined;
  /** Where it came from, for people and for the record. */
  readonly from: string;
  /** Whether the part was put together from more than one answer. */
  readonly resumed: boolean;
}
