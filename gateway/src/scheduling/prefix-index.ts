// What one back end has computed lately, by the blocks of the prompts that it was given: so a prompt with the same beginning
// can go where that lies in memory. It is a guess: a back end may have dropped it, and what it reports corrects the guess.
// It must never grow without end.
import type { Usage } from '../core/chat.ts';
import type { PromptPrefix } from '../core/ticket.ts';

/** 8 MiB of prompts, about 2 million tokens: more than the memory of one server's GPU holds. */
const MOST_BLOCKS = 32_768;

export class PrefixIndex {
  readonly #mostBlocks: number;
  /** Oldest first. Of a prompt's blocks the first is the newest, so that its end is forgotten before its beginning. */
  readonly #blocks = new Set<number>();

  constructor(mostBlocks = MOST_BLOCKS) {
    this.#mostBlocks = mostBlocks;
  }

  /** 0 to 1: how much of the prompt it has computed before. */
  shareOf({ blocks, rest = 0, whole }: PromptPrefix): number {
    // So short a prompt is quickly computed anywhere.
    if (blocks.length === 0) return 0;
    // Whoever has a block has all before it: the border is found by halving.
    let known = 0;
    let unknown = blocks.length + 1;
    while (unknown - known > 1) {
      const middle = (known + unknown) >> 1;
      if (this.#blocks.has(blocks[middle - 1]!)) known = middle;
      else unknown = middle;
    }
    // What stands behind the last block is known only with all before it: for a question behind instructions that all have, it
    // may be all that there is to compute.
    if (known === blocks.length && this.#blocks.has(whole)) return 1;
    return known / (blocks.length + rest);
  }

  /** A call with this prompt was given to it. */
  saw({ blocks, rest = 0, whole }: PromptPrefix): void {
    if (rest > 0 && blocks.length > 0) this.#remember(whole);
    for (let index = Math.min(blocks.length, this.#mostBlocks) - 1; index >= 0; index -= 1)
      this.#remember(blocks[index]!);
    for (const oldest of this.#blocks) {
      if (this.#blocks.size <= this.#mostBlocks) break;
      this.#blocks.delete(oldest);
    }
  }

  /** The call was answered. `share`: of its prompt, as it was told when the call was given. */
  answered({ blocks, whole }: PromptPrefix, share: number, { cachedTokens }: Usage): void {
    if (share === 0 || cachedTokens !== 0) return;
    // It had none of it: either it keeps nothing, or it had to drop it.
    this.#blocks.delete(whole);
    for (const block of blocks) this.#blocks.delete(block);
  }

  /** As the newest. */
  #remember(block: number): void {
    this.#blocks.delete(block);
    this.#blocks.add(block);
  }
}
