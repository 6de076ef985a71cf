// By what two requests are known to have one answer: a hash over everything that decides it, for those requests whose answer
// is decided by what they ask. It must never take two for one that differ in anything a back end is told.
// Pure.
import { createHash, type Hash } from 'node:crypto';
import type { ChatRequest } from '../core/chat.ts';

/** UTF-16 units that are hashed together: a call of the hash for every name and number would cost more than the hashing. */
const BATCH_UNITS = 8 * 1024;

/**
 * Undefined: asked again, it may be answered otherwise. Only greedy sampling counts as decided: what a seed is worth differs
 * from server to server, and with what else they compute.
 */
export function answerKey(tenant: string, request: ChatRequest): string | undefined {
  if (request.sampling.temperature !== 0) return undefined;
  // Whether the answer may come in one piece changes no word of it.
  const { isWhole: _form, ...decisive } = request;
  const writer = new KeyWriter();
  writer.add(tenant);
  writer.add(decisive);
  return writer.digest();
}

/** Feeds a value to a hash piece by piece, so that no prompt is in memory once more. Equal hashes mean equal values. */
class KeyWriter {
  readonly #hash: Hash = createHash('sha256');
  #batch = '';

  add(value: unknown): void {
    if (typeof value === 'string') this.#addText(value);
    else if (Array.isArray(value)) {
      this.#write(`[${value.length} `);
      for (const item of value) this.add(item);
    } else if (isRawJSON(value)) this.#write(`r${value.rawJSON} `);
    else if (typeof value === 'object' && value !== null) this.#addObject(value);
    else this.#write(`${String(value)} `);
  }

  digest(): string {
    this.#flush();
    return this.#hash.digest('base64');
  }

  /** In their own order, which decides things too: a schema's properties come in it. What is absent is not there. */
  #addObject(value: object): void {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    this.#write(`{${members.length} `);
    for (const [name, member] of members) {
      this.#addText(name);
      this.add(member);
    }
  }

  #addText(text: string): void {
    this.#write(`"${text.length} `);
    if (text.length > BATCH_UNITS) {
      this.#flush();
      this.#update(text);
    } else this.#write(text);
  }

  #write(text: string): void {
    this.#batch += text;
    if (this.#batch.length > BATCH_UNITS) this.#flush();
  }

  #flush(): void {
    this.#update(this.#batch);
    this.#batch = '';
  }

  /** As it is in memory: UTF-8 would make every half of a surrogate pair the same. */
  #update(text: string): void {
    this.#hash.update(text, 'utf16le');
  }
}

/** An integer that no double holds, as it was written; the language's types do not know it yet. */
interface RawJSON {
  readonly rawJSON: string;
}

const { isRawJSON } = JSON as unknown as { readonly isRawJSON: (value: unknown) => value is RawJSON };
