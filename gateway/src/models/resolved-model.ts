// What the model store says of models: one that can be loaded, and how those in a list or in a check stand.
// Values for callers; nothing here is ever written to the disk.
import { resolve as absolute, basename } from 'node:path';
import { checkGguf } from './gguf.ts';
import { statOf } from './store-files.ts';

/** A model that can be loaded now. */
export interface ResolvedModel {
  readonly name: string;
  readonly title: string;
  /** Path of the weights. */
  readonly file: string;
  /** Of the weights, as an SPDX id; `unknown` where a file does not say. */
  readonly licence: string;
  /** Hex; absent for a file outside of the store. */
  readonly sha256?: string;
  readonly bytes: number;
}

export interface PulledModel extends ResolvedModel {
  /** It was in the store before, and nothing was fetched. */
  readonly wasThere: boolean;
}

export interface ListedModel {
  readonly name: string;
  readonly title: string;
  /** From the catalogue. */
  readonly about?: string;
  readonly licence: string;
  /** Exact where it is stored, else about. */
  readonly bytes: number;
  readonly isStored: boolean;
  /** It is the recorded choice. */
  readonly isDefault: boolean;
}

export interface VerifiedModel {
  readonly name: string;
  readonly title: string;
  /** `wrong`: the bytes are not those that were pulled. `missing`: there is a record and no file. */
  readonly state: 'ok' | 'wrong' | 'missing';
  /** Hex: what it should be. */
  readonly sha256: string;
  /** Hex: of the weights that were fetched, where these were made of them here. */
  readonly rewrittenFrom?: string;
}

/** A file of the user's own, where it lies. Throws as `checkGguf` does. */
export async function modelOfFile(path: string): Promise<ResolvedModel> {
  const file = absolute(path);
  const summary = await checkGguf(file);
  const name = basename(file).replace(/\.gguf$/i, '');
  const bytes = (await statOf(file))?.size ?? 0;
  return { name, title: summary.name ?? name, file, licence: summary.licence ?? 'unknown', bytes };
}
