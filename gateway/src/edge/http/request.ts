// One request as it comes: its head, and its body for who wants it. What nobody has asked for yet is held, and its connection sees to
// it that this is little.
import { GatewayError } from '../../core/errors.ts';
import type { RequestHead, RequestHeaders } from './request-parser.ts';

/** Who takes a body. Only one of `end` and `failed` is told, and nothing after it. */
export interface BodyReader {
  data(bytes: Buffer): void;
  end(): void;
  /** It will not come whole: the client left, or what it sent is no HTTP. */
  failed(error: GatewayError): void;
}

export class Request {
  readonly method: string;
  /** As it came: a path with its query, or the absolute form. */
  readonly target: string;
  readonly headers: RequestHeaders;
  /** All of it has come. */
  isComplete: boolean;
  /** Bytes that nobody has asked for yet. */
  heldBytes = 0;
  readonly #onWanted: () => void;
  #held: Buffer[] = [];
  #reader: BodyReader | undefined;
  #failure: GatewayError | undefined;
  #isUnwanted = false;

  /** `onWanted`: called once, when somebody asks for the body. */
  constructor({ method, target, headers, hasBody }: RequestHead, onWanted: () => void) {
    this.method = method;
    this.target = target;
    this.headers = headers;
    this.isComplete = !hasBody;
    this.#onWanted = onWanted;
  }

  /** Gives the body to its one reader: what has come of it at once, the rest as it comes. */
  read(reader: BodyReader): void {
    const held = this.#held;
    this.#held = [];
    this.heldBytes = 0;
    for (const bytes of held) reader.data(bytes);
    if (this.#failure) reader.failed(this.#failure);
    else if (this.isComplete) reader.end();
    else {
      this.#reader = reader;
      this.#onWanted();
    }
  }

  /** Nobody will ask for the rest any more. */
  discard(): void {
    this.#isUnwanted = true;
    this.#held = [];
    this.heldBytes = 0;
  }

  /** Its next bytes; they are its own. */
  push(bytes: Buffer): void {
    if (this.#isUnwanted) return;
    if (this.#reader) this.#reader.data(bytes);
    else {
      this.#held.push(bytes);
      this.heldBytes += bytes.length;
    }
  }

  end(): void {
    if (this.isComplete) return;
    this.isComplete = true;
    this.#takeReader()?.end();
  }

  /** The rest will not come. Of a request that has come whole it changes nothing. */
  fail(error: GatewayError): void {
    if (this.isComplete || this.#failure) return;
    this.#failure = error;
    this.#takeReader()?.failed(error);
  }

  /** A body that was read is not to live for as long as its request, which may be hours. */
  #takeReader(): BodyReader | undefined {
    const reader = this.#reader;
    this.#reader = undefined;
    return reader;
  }
}

/** Why a request does not come whole whose client is gone. */
export function leftEarly(): GatewayError {
  return new GatewayError('cancelled', 'The client left before its request was complete.');
}
