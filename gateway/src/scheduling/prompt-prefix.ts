// How a prompt begins, as hashes of its blocks: each over all that came before it, so two prompts with the same hash begin
// alike, whatever follows. In bytes of the conversation's text and not in tokens: the gateway has no tokenizer for every
// model.
// Pure.
import type { ChatRequest, Message } from '../core/chat.ts';
import type { PromptPrefix } from '../core/ticket.ts';

type Prompted = Pick<ChatRequest, 'prompt' | 'tools'>;

/** A multiple of 4, for the hash reads words. */
const BLOCK_BYTES = 256;
/** Of one prompt: 1 MiB of text, more than models have room for. What is behind counts for the whole only. */
const MOST_BLOCKS = 4_096;
/** Between the parts of a conversation, where text hardly ever has them: were they mistaken, a call would go elsewhere. */
const MESSAGE = '\u0001';
const PART = '\u0002';

/**
 * Works nothing out before it is asked for it. `seed`: whose prompt it is, and for which model: with another seed, no hash is
 * the same. What stands before the conversation in a model's template (tools) stands before it here, too.
 */
export function promptPrefix(request: Prompted, seed: string): PromptPrefix {
  return new LazyPrefix(request, seed);
}

/** A class, for V8 makes a literal with getters at the price of a whole prompt's hashes. */
class LazyPrefix implements PromptPrefix {
  readonly #request: Prompted;
  readonly #seed: string;
  #hashes: Hashes | undefined;

  constructor(request: Prompted, seed: string) {
    this.#request = request;
    this.#seed = seed;
  }

  get blocks(): readonly number[] {
    return this.#get().blocks;
  }

  get rest(): number {
    return this.#get().rest;
  }

  get whole(): number {
    return this.#get().whole;
  }

  #get(): Hashes {
    this.#hashes ??= hashesOf(Buffer.from(canonicalText(this.#request, this.#seed)));
    return this.#hashes;
  }
}

/** One form for each conversation, however it was sent; that of a longer one begins with that of its beginning. */
function canonicalText({ prompt, tools = [] }: Prompted, seed: string): string {
  const head = [seed, ...tools.map(({ original }) => JSON.stringify(original))].join(PART);
  if (prompt.kind === 'text') return head + MESSAGE + prompt.text + (prompt.suffix ?? '');
  return head + prompt.messages.map((message) => MESSAGE + messageText(message)).join('');
}

function messageText({ role, name, content, toolCalls, toolCallId }: Message): string {
  let text = role + PART;
  if (name !== undefined) text += name + PART;
  if (toolCallId !== undefined) text += toolCallId + PART;
  if (typeof content === 'string') text += content;
  else
    for (const part of content ?? []) text += part.type === 'text' ? part.text : JSON.stringify(part.value);
  return toolCalls === undefined ? text : text + PART + JSON.stringify(toolCalls);
}

interface Hashes {
  readonly blocks: readonly number[];
  readonly rest: number;
  readonly whole: number;
}

/**
 * MurmurHash3 (Austin Appleby, public domain): two of the four lanes of its 128 bits, unmixed until a hash is read; 53 bits
 * of both together, as many as a number holds. Among the 32,768 blocks that are remembered of a back end, a new one looks
 * like one of them by chance once in 2.7e11 times; it costs one call a better place. It withstands no malice, and need not:
 * who makes hashes collide sends only calls of its own to a worse place, for the seed keeps tenants apart.
 */
function hashesOf(bytes: Buffer): Hashes {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const wordsEnd = bytes.length & ~3;
  const blocks: number[] = [];
  let low = 0;
  let high = 0;
  for (let at = 0; at < wordsEnd; at += 4) {
    const word = words.getInt32(at, true);
    low = lowWith(low, word);
    high = highWith(high, word);
    const end = at + 4;
    if (end % BLOCK_BYTES === 0 && blocks.length < MOST_BLOCKS) blocks.push(joined(low, high, end));
  }
  for (let at = wordsEnd; at < bytes.length; at += 1) {
    low = lowWith(low, bytes[at]!);
    high = highWith(high, bytes[at]!);
  }
  const rest = (bytes.length % BLOCK_BYTES) / BLOCK_BYTES;
  return { blocks, rest, whole: joined(low, high, bytes.length) };
}

function lowWith(hash: number, word: number): number {
  const mixed = hash ^ Math.imul(rotated(Math.imul(word, 0x239b961b), 15), 0xab0e9789);
  return (Math.imul(rotated(mixed, 19), 5) + 0x561ccd1b) | 0;
}

function highWith(hash: number, word: number): number {
  const mixed = hash ^ Math.imul(rotated(Math.imul(word, 0xab0e9789), 16), 0x38b34ae5);
  return (Math.imul(rotated(mixed, 17), 5) + 0x0bcaa747) | 0;
}

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** One number of 53 bits. */
function joined(low: number, high: number, length: number): number {
  return (spread(high ^ length) & 0x1fffff) * 2 ** 32 + spread(low ^ length);
}

/** Its final mix: every bit of the lane changes half of these. */
function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
