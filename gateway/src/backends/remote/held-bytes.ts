// The bytes of a line whose end has not come yet.
// It must never hold more than was put into it plus one block, however small the pieces are: a list of the network's own
// buffers would cost a hundred bytes for each byte of a slow drip, and one buffer that doubles as much again as it holds.

const SMALLEST_BLOCK = 4 * 1024;
const LARGEST_BLOCK = 1024 * 1024;
/** A larger block than this is not kept for the next line: a thousand streams would keep as many. */
const LARGEST_KEPT_BLOCK = 64 * 1024;
const NOTHING = Buffer.alloc(0);

export class HeldBytes {
  /** Bytes that are held. */
  length = 0;
  readonly #full: Buffer[] = [];
  #block = NOTHING;
  #used = 0;

  /** Copies the bytes of `chunk` from `start` on. */
  append(chunk: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#used === this.#block.length) this.#grow(end - at);
      const copied = chunk.copy(this.#block, this.#used, at, end);
      this.#used += copied;
      at += copied;
    }
    this.length += end - start;
  }

  /** All that is held, in one piece and valid until the next `append`; it is no longer held then. */
  take(): Buffer {
    const last = this.#block.subarray(0, this.#used);
    const all = this.#full.length === 0 ? last : Buffer.concat([...this.#full, last], this.length);
    this.#full.length = 0;
    if (this.#block.length > LARGEST_KEPT_BLOCK) this.#block = NOTHING;
    this.#used = 0;
    this.length = 0;
    return all;
  }

  #grow(needed: number): void {
    if (this.#used > 0) this.#full.push(this.#block);
    const size = Math.max(SMALLEST_BLOCK, Math.min(LARGEST_BLOCK, Math.max(needed, this.length)));
    this.#block = Buffer.allocUnsafe(size);
    this.#used = 0;
  }
}
