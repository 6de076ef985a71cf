// Names of streams that nobody can guess, and that tell by themselves whose they are: so a stream that is long gone can be told
// from one that never was, and another key's from neither, without remembering any.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { AccessKey } from '../../core/world.ts';

/** Of the random part and of the proof, in bytes: together they fill 24 characters of base64url. */
const RANDOM_BYTES = 9;
const PROOF_BYTES = 9;

/** By whose key a stream is asked for: of all that a key is, the digest alone. */
export type Owner = Pick<AccessKey, 'digest'>;

export class StreamIds {
  readonly #secret = randomBytes(32);

  /** A name of the owner's. Of 24 characters, letters, digits, `-` and `_`. */
  make(owner: Owner): string {
    const random = randomBytes(RANDOM_BYTES);
    return Buffer.concat([random, this.#proof(random, owner)]).toString('base64url');
  }

  /** Whether this server has given the name to this owner. A restart forgets all. */
  isOf(id: string, owner: Owner): boolean {
    const bytes = Buffer.from(id, 'base64url');
    if (bytes.length !== RANDOM_BYTES + PROOF_BYTES || bytes.toString('base64url') !== id) return false;
    const proof = this.#proof(bytes.subarray(0, RANDOM_BYTES), owner);
    return timingSafeEqual(bytes.subarray(RANDOM_BYTES), proof);
  }

  #proof(random: Buffer, { digest }: Owner): Buffer {
    return createHmac('sha256', this.#secret).update(random).update(digest).digest().subarray(0, PROOF_BYTES);
  }
}
