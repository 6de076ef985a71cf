// Unpacks an answer that came packed although it was asked for plain, piece by piece as it comes.
// It never holds more than a piece, and it ends an answer that unpacks to far more than any text does.
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib';
import { GatewayError } from '../../core/errors.ts';
import { transportError } from './transport-error.ts';

/** What a packed byte may unpack to: text that repeats itself stays below 100. */
const MOST_RATIO = 200;
/** Before the ratio counts, in bytes: a short answer may well be one long repetition. */
const FREE_BYTES = 1024 * 1024;

export type Packing = 'gzip' | 'deflate' | 'br';

/** How an answer is packed, by its headers; undefined: it is not. Throws `backend_failed` if in a way we do not know. */
export function packingOf(encoding: string | string[] | undefined): Packing | undefined {
  if (encoding === undefined) return undefined;
  switch (String(encoding).trim().toLowerCase()) {
    case '':
    case 'identity':
      return undefined;
    case 'gzip':
    case 'x-gzip':
      return 'gzip';
    case 'deflate':
      return 'deflate';
    case 'br':
      return 'br';
    default:
      throw transportError('unknown-packing');
  }
}

export interface UnpackerSink {
  /** The next unpacked piece, safe to keep. */
  data(bytes: Buffer): void;
  /** It can take more, after `write` returned false. */
  drain(): void;
  end(): void;
  /** With a `backend_failed`; nothing follows. */
  fail(error: Error): void;
}

export class Unpacker {
  private readonly packing: Packing;
  private readonly sink: UnpackerSink;
  /** Made by the first byte, which tells the two kinds of deflate apart. */
  private stream: Transform | undefined;
  private packedBytes = 0;
  private plainBytes = 0;

  constructor(packing: Packing, sink: UnpackerSink) {
    this.packing = packing;
    this.sink = sink;
  }

  /** Keeps the bytes. False: wait for `drain` before the next ones. */
  write(packed: Buffer): boolean {
    if (packed.length === 0) return true;
    this.packedBytes += packed.length;
    this.stream ??= this.open(packed[0]!);
    return this.stream.write(packed);
  }

  /** The packed answer is whole; an empty one unpacks to nothing. */
  end(): void {
    if (this.stream) this.stream.end();
    else this.sink.end();
  }

  destroy(): void {
    this.stream?.destroy();
  }

  private open(first: number): Transform {
    const stream = this.create(first);
    stream.on('data', (bytes: Buffer) => {
      this.plainBytes += bytes.length;
      if (this.plainBytes > FREE_BYTES + this.packedBytes * MOST_RATIO)
        stream.destroy(transportError('bomb'));
      else this.sink.data(bytes);
    });
    stream.on('drain', () => this.sink.drain());
    stream.on('end', () => this.sink.end());
    stream.on('error', (error) => this.sink.fail(unpackingError(error)));
    return stream;
  }

  private create(first: number): Transform {
    switch (this.packing) {
      case 'gzip':
        return createGunzip();
      case 'br':
        return createBrotliDecompress();
      case 'deflate':
        // By the standard it has zlib's head; some send it bare.
        return (first & 0x0f) === 0x08 ? createInflate() : createInflateRaw();
    }
  }
}

function unpackingError(error: NodeJS.ErrnoException): GatewayError {
  if (error instanceof GatewayError) return error;
  // It ended before its own end.
  return transportError(error.code === 'Z_BUF_ERROR' ? 'cut' : 'bad-packing', error);
}
