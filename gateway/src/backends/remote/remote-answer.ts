// From the bytes of another server's answer to events: which reader they need, by what the head says they are; and errors,
// which come as bodies of their own. It must never hold more than its bounds.
import { StringDecoder } from 'node:string_decoder';
import { GatewayError } from '../../core/errors.ts';
import { EventStreamReader, MAX_EVENT_BYTES } from './event-stream-reader.ts';
import { LineReader } from './line-reader.ts';
import type { UpstreamHeaders, UpstreamReader } from './upstream-reader.ts';

/** What becomes of an answer's pieces. */
export interface AnswerParser {
  /** The data of one event, or one line. */
  data(text: string, event: string): void;
  /** Takes the event that begins at `at`, if its bytes tell what it is. Returns where it ends; `at`: it is to be read. */
  known(bytes: Buffer, at: number): number;
  /** The whole answer as one JSON text. */
  whole(text: string): void;
}

export interface RemoteAnswerOptions {
  readonly parser: AnswerParser;
  /** The head came, whatever its status. */
  readonly onHead?: ((status: number, headers: UpstreamHeaders) => void) | undefined;
  /** Bytes of an answer came. */
  readonly onBytes: () => void;
  /** What a status that is no success means. */
  readonly errorOf: (status: number, headers: UpstreamHeaders, body: string) => GatewayError;
}

const MAX_WHOLE_BYTES = 64 * 2 ** 20;
/** Of an error's body: what is behind it nobody reads. */
const MAX_ERROR_BYTES = 64 * 1024;
const LEFT_BRACE = 0x7b;
const LESS_THAN = 0x3c;
const MOST_ASCII = 0x7f;

interface Reader {
  push(bytes: Buffer): void;
  end(): void;
}

export class RemoteAnswer implements UpstreamReader {
  readonly #options: RemoteAnswerOptions;
  #status = 0;
  #headers: UpstreamHeaders = {};
  #reader: Reader | undefined;

  constructor(options: RemoteAnswerOptions) {
    this.#options = options;
  }

  head(status: number, headers: UpstreamHeaders): void {
    this.#status = status;
    this.#headers = headers;
    this.#options.onHead?.(status, headers);
    if (status !== 200) this.#reader = new WholeText(MAX_ERROR_BYTES, 'cut', (body) => this.#fail(body));
    else this.#reader = this.#readerFor(String(headers['content-type'] ?? ''));
  }

  data(bytes: Buffer): void {
    if (this.#reader === undefined) {
      const first = bytes.findIndex((byte) => byte > 0x20);
      if (first < 0) return;
      this.#reader = this.#readerByFirst(bytes[first]!);
    }
    if (this.#status === 200) this.#options.onBytes();
    this.#reader.push(bytes);
  }

  /** The body has come to its end. Throws what the answer failed by. */
  end(): void {
    this.#reader?.end();
  }

  /** Undefined: the type says nothing, and the first byte will. */
  #readerFor(contentType: string): Reader | undefined {
    const { parser } = this.#options;
    if (/^text\/event-stream\b/i.test(contentType)) return this.#events();
    if (/^application\/(x-ndjson|ndjson|jsonl)\b/i.test(contentType)) {
      return new LineReader({ onLine: (line) => parser.data(line, ''), maxLineBytes: MAX_EVENT_BYTES });
    }
    if (/^application\/json\b/i.test(contentType)) return this.#whole();
    if (/^text\/html\b/i.test(contentType)) throw notAnAnswer();
    return undefined;
  }

  #readerByFirst(byte: number): Reader {
    if (byte === LEFT_BRACE) return this.#whole();
    if (byte === LESS_THAN) throw notAnAnswer();
    return this.#events();
  }

  #events(): Reader {
    const { parser } = this.#options;
    return new EventStreamReader({
      onEvent: (data, event) => parser.data(data, event),
      takeKnown: (bytes, at) => parser.known(bytes, at),
      maxEventBytes: MAX_EVENT_BYTES,
    });
  }

  #whole(): Reader {
    return new WholeText(MAX_WHOLE_BYTES, 'refuse', (text) => {
      if (text.trim() === '') throw new GatewayError('backend_failed', 'The back end sent an empty answer.');
      this.#options.parser.whole(text);
    });
  }

  #fail(body: string): never {
    throw this.#options.errorOf(this.#status, this.#headers, body);
  }
}

/** A body that is read as one text; what goes over the bound is refused, or not looked at. */
class WholeText implements Reader {
  readonly #maxBytes: number;
  readonly #beyond: 'refuse' | 'cut';
  readonly #onText: (text: string) => void;
  /** Made when a piece may end within a character: most answers are one piece. */
  #decoder: StringDecoder | undefined;
  #text = '';
  #bytes = 0;

  constructor(maxBytes: number, beyond: 'refuse' | 'cut', onText: (text: string) => void) {
    this.#maxBytes = maxBytes;
    this.#beyond = beyond;
    this.#onText = onText;
  }

  push(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (this.#bytes <= this.#maxBytes) this.#text += this.#decoded(bytes);
    else if (this.#beyond === 'refuse') {
      throw new GatewayError('backend_failed', 'The back end sent an answer that is larger than any can be.');
    } else this.end();
  }

  end(): void {
    const text = this.#text + (this.#decoder?.end() ?? '');
    this.#onText(text.startsWith('\ufeff') ? text.slice(1) : text);
  }

  #decoded(bytes: Buffer): string {
    if (!this.#decoder && bytes.at(-1)! <= MOST_ASCII) return bytes.toString();
    this.#decoder ??= new StringDecoder('utf8');
    return this.#decoder.write(bytes);
  }
}

function notAnAnswer(): GatewayError {
  return new GatewayError('backend_failed', 'The back end sent a web page instead of an answer.');
}
