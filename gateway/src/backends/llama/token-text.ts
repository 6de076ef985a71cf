// What a single token is written as, where it is told apart from the text around it.
// A token can be a part of a character: its bytes are then found in the vocabulary, never guessed from its text.
// Pure: text and entry are passed in.

/** A token's text, and its UTF-8 where the text cannot tell it. */
export interface SingleToken {
  readonly token: string;
  readonly bytes?: readonly number[];
}

const INCOMPLETE = '\uFFFD';
const BYTE_ENTRY = /^<0x([0-9A-F]{2})>$/;
/** The characters by which a byte-level vocabulary writes its bytes. */
const BYTES = byteCharacters();

/** `text`: as the detokenizer writes it; `entry`: as the vocabulary does. */
export function singleToken(text: string, entry: string): SingleToken {
  return text.includes(INCOMPLETE) ? { token: text, bytes: bytesOf(entry) } : { token: text };
}

/** SentencePiece has an entry for each byte; byte-level vocabularies have a character for each. */
function bytesOf(entry: string): number[] {
  const byte = BYTE_ENTRY.exec(entry)?.[1];
  if (byte !== undefined) return [Number.parseInt(byte, 16)];
  return [...entry].flatMap((character) => BYTES.get(character) ?? [...Buffer.from(character)]);
}

/** GPT-2's table: a byte that prints stands for itself, the others for the characters from U+0100 on, in order. */
function byteCharacters(): ReadonlyMap<string, number> {
  const characters = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 0x100; byte++) {
    const prints = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    characters.set(String.fromCodePoint(prints ? byte : next++), byte);
  }
  return characters;
}
