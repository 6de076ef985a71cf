// Servers write a thousand events that differ in nothing but their piece of text. Such an event is known by the bytes around it,
// which are those of the one before: nothing is parsed then, and only the text is decoded.
// It must never take an event whose text would be another if all of it were parsed: what it does not know it leaves.
// Pure.

/** How an event with one line of data begins and ends where nothing is written that need not be. */
const BEFORE = 'data: ';
const BEHIND = '\n\n';
/** Of a text in bytes, and of what is around it in UTF-16 units: longer ones are rare, and parsed with more care. */
const MOST_TEXT_BYTES = 4 * 1024;
const MOST_AROUND = 4 * 1024;

const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export class EventTemplate {
  /** Events that were of it. */
  uses = 0;
  /** Of the event that was read last. */
  text = '';
  readonly #before: Buffer;
  readonly #behind: Buffer;

  private constructor(before: string, behind: string) {
    this.#before = Buffer.from(BEFORE + before);
    this.#behind = Buffer.from(behind + BEHIND);
  }

  /**
   * Around `text` in an event's `data`, a JSON text in which it is a string. `textOf` parses: it proves that what stands in the
   * string's place is the text, whatever it is. Undefined: the text stands there more than once, or not as it is, or in too much
   * else to keep.
   */
  static around(
    text: string,
    data: string,
    textOf: (data: string) => string | undefined,
  ): EventTemplate | undefined {
    if (data.length - text.length > MOST_AROUND) return undefined;
    const quoted = `"${text}"`;
    const at = data.indexOf(quoted);
    if (at < 0 || data.indexOf(quoted, at + 1) >= 0) return undefined;
    const before = data.slice(0, at + 1);
    const behind = data.slice(at + 1 + text.length);
    const other = text === 'a' ? 'b' : 'a';
    return textOf(before + other + behind) === other ? new EventTemplate(before, behind) : undefined;
  }

  /** Reads the event that begins at `at`. Returns where it ends; `at`: it is another one, or is not all there. */
  read(bytes: Buffer, at: number): number {
    const start = at + this.#before.length;
    if (start >= bytes.length || !isAt(bytes, at, this.#before)) return at;
    const end = endOfPlainText(bytes, start);
    if (end === start || !isAt(bytes, end, this.#behind)) return at;
    this.text = bytes.toString('utf8', start, end);
    this.uses += 1;
    return end + this.#behind.length;
  }
}

function isAt(bytes: Buffer, at: number, wanted: Buffer): boolean {
  const end = at + wanted.length;
  return end <= bytes.length && bytes.compare(wanted, 0, wanted.length, at, end) === 0;
}

/** Where the quote is that ends a string without an escape; `start`: there is none. */
function endOfPlainText(bytes: Buffer, start: number): number {
  const most = Math.min(bytes.length, start + MOST_TEXT_BYTES);
  for (let at = start; at < most; at += 1) {
    const byte = bytes[at]!;
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH || byte < SPACE) return start;
  }
  return start;
}
