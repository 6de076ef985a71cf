// Computed prefixes that several prompts of a tenant share, such as a system message: kept as files on a memory file
// system, so that any sequence can take one up in milliseconds instead of computing it.
// It must never give one tenant's state to another, nor a file to the engine that is not exactly what was written.
import { rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type CachedSequence, commonPrefix, LEAST_GAIN_TOKENS } from './sequences.ts';

/** A sequence whose state can be written to a file and read from it. */
export interface StatefulSequence extends CachedSequence {
  truncate(length: number): Promise<void>;
  saveState(file: string): Promise<void>;
  loadState(file: string): Promise<void>;
}

export interface PrefixStoreOptions {
  /** A folder that only this process's user can look into. */
  readonly folder: string;
  /** Bound on all files together; 0 keeps nothing. */
  readonly maxBytes: number;
  /** False: a state can only be continued, so a kept prefix is of use to prompts that have all of it. */
  readonly canTruncate: boolean;
  readonly log: (message: string) => void;
}

interface StoredPrefix {
  readonly tenant: string;
  readonly tokens: readonly number[];
  readonly file: string;
  readonly bytes: number;
  /** Time of the last change, by which any later write to the file shows. */
  readonly changedAt: bigint;
}

const REMEMBERED_PROMPTS = 64;
const MOST_PREFIXES = 256;
/** One prefix may take this part of the whole. */
const LARGEST_SHARE = 0.5;
/** After a file could not be written: for so many prompts none is tried. */
const PAUSE_PROMPTS = 100;

export class PrefixStore {
  private readonly options: PrefixStoreOptions;
  /** Least recently used first. */
  private stored: StoredPrefix[] = [];
  private prompts: { readonly tenant: string; readonly tokens: readonly number[] }[] = [];
  private bytes = 0;
  private bytesPerToken = 0;
  private files = 0;
  private pausedPrompts = 0;

  constructor(options: PrefixStoreOptions) {
    this.options = options;
  }

  /** Remembers a prompt, so that a second one with the same beginning is recognised. */
  remember(tenant: string, tokens: readonly number[]): void {
    this.pausedPrompts = Math.max(0, this.pausedPrompts - 1);
    this.prompts.push({ tenant, tokens });
    if (this.prompts.length > REMEMBERED_PROMPTS) this.prompts.shift();
  }

  /** How many tokens of the prompt are worth keeping when they are computed: what another has too, and is not kept yet. */
  worthKeeping(tenant: string, tokens: readonly number[]): number | undefined {
    if (this.options.maxBytes === 0 || this.pausedPrompts > 0) return undefined;
    let shared = 0;
    for (const prompt of this.prompts) {
      if (prompt.tenant !== tenant || prompt.tokens === tokens) continue;
      shared = Math.max(shared, commonPrefix(prompt.tokens, tokens));
    }
    shared = Math.min(shared, tokens.length - 1);
    const isNew = shared >= this.covered(tenant, tokens) + LEAST_GAIN_TOKENS;
    const fits = shared * this.bytesPerToken <= this.options.maxBytes * LARGEST_SHARE;
    return isNew && fits ? shared : undefined;
  }

  /** How many of the prompt's tokens `restore` would give. */
  covered(tenant: string, tokens: readonly number[]): number {
    return this.find(tenant, tokens)?.usable ?? 0;
  }

  /** Writes the sequence's whole state. What cannot be written is not kept, and nothing else happens. */
  async keep(tenant: string, sequence: StatefulSequence): Promise<void> {
    const { folder, log } = this.options;
    const tokens = [...sequence.contextTokens];
    const file = join(folder, `${++this.files}.state`);
    if (!this.makeRoom(tokens.length * this.bytesPerToken)) return;
    try {
      await sequence.saveState(file);
      const { size, ctimeNs } = statSync(file, { bigint: true });
      const bytes = Number(size);
      this.stored.push({ tenant, tokens, file, bytes, changedAt: ctimeNs });
      this.bytes += bytes;
      this.bytesPerToken = bytes / tokens.length;
      this.makeRoom(0);
    } catch (error) {
      rmSync(file, { force: true });
      this.pausedPrompts = PAUSE_PROMPTS;
      log(`a prefix of ${tokens.length} tokens could not be kept: ${String(error)}`);
    }
  }

  /**
   * Puts the longest kept prefix of the prompt into the sequence, whatever that held, and resolves to its tokens.
   * Where that fails the sequence is empty, the prefix is forgotten, and it resolves to 0.
   */
  async restore(tenant: string, tokens: readonly number[], sequence: StatefulSequence): Promise<number> {
    const found = this.find(tenant, tokens);
    if (found === undefined) return 0;
    const { prefix, usable } = found;
    try {
      const { size, ctimeNs } = statSync(prefix.file, { bigint: true });
      if (ctimeNs !== prefix.changedAt || Number(size) !== prefix.bytes) throw new Error('it was changed');
      await sequence.loadState(prefix.file);
      if (commonPrefix(sequence.contextTokens, prefix.tokens) < prefix.tokens.length) {
        throw new Error('it holds other tokens');
      }
      await sequence.truncate(usable);
      this.stored.push(...this.stored.splice(this.stored.indexOf(prefix), 1));
      return usable;
    } catch (error) {
      this.options.log(`a kept prefix could not be used and is computed again: ${String(error)}`);
      this.drop(prefix);
      await sequence.truncate(0);
      return 0;
    }
  }

  private find(
    tenant: string,
    tokens: readonly number[],
  ): { readonly prefix: StoredPrefix; readonly usable: number } | undefined {
    let best: { readonly prefix: StoredPrefix; readonly usable: number } | undefined;
    for (const prefix of this.stored) {
      if (prefix.tenant !== tenant) continue;
      const usable = Math.min(commonPrefix(prefix.tokens, tokens), tokens.length - 1);
      if (usable < prefix.tokens.length && !this.options.canTruncate) continue;
      if (usable > (best?.usable ?? 0)) best = { prefix, usable };
    }
    return best;
  }

  /** False where even an empty store would not hold so much. */
  private makeRoom(bytes: number): boolean {
    const { folder, maxBytes } = this.options;
    if (bytes > maxBytes * LARGEST_SHARE) return false;
    while (this.bytes + bytes > maxBytes || this.stored.length >= MOST_PREFIXES) {
      const oldest = this.stored[0];
      if (oldest === undefined) return false;
      this.drop(oldest);
    }
    try {
      // The folder may be shared with others, who have filled it meanwhile.
      const { bavail, bsize } = statfsSync(folder);
      return bytes === 0 || bavail * bsize > bytes;
    } catch {
      return false;
    }
  }

  private drop(prefix: StoredPrefix): void {
    this.stored = this.stored.filter((other) => other !== prefix);
    this.bytes -= prefix.bytes;
    rmSync(prefix.file, { force: true });
  }
}
