// The form of a script: what an upstream answers to one request, write by write, with its delays and its faults. It is
// the form of `upstream` in the hard cases, and a little more.
// Pure: no input, no output. It must never judge what a script says: nonsense is what scripts are for.
import { z } from 'zod';

/** One write: text as UTF-8, raw bytes, or a long text. */
export type Chunk =
  | string
  | { readonly base64: string }
  /** Written in pieces, each when the one before it was taken. */
  | { readonly repeat: string; readonly times: number };

export interface Script {
  /** Default 200. */
  readonly status?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly chunks: readonly Chunk[];
  /** Before each chunk, in ms; those that are not told are 0. */
  readonly delaysMs?: readonly number[] | undefined;
  /** Before the status and headers, in ms. */
  readonly headDelayMs?: number | undefined;
  /** `eof`, the default: the body ends as HTTP has it. `reset`: the connection breaks. `hold`: nothing more comes. */
  readonly end?: 'eof' | 'reset' | 'hold' | undefined;
  /** Closes the connection when it was idle for this long after the answer, in ms, and says so in a header. */
  readonly keepAliveMs?: number | undefined;
  /** What happens to a request on a connection that carried an answer before. */
  readonly onReuse?: 'reset-before-answer' | undefined;
  /** What kind of server it plays; for those who set up a client of it. */
  readonly dialect?: 'openai' | 'ollama' | undefined;
}

/** Of a repeated text: what is long is never in memory at once. */
const PIECE_BYTES = 64 * 1024;

const ms = z.number().min(0);
const chunkSchema = z.union([
  z.string(),
  z.strictObject({ base64: z.base64() }),
  z.strictObject({ repeat: z.string().min(1), times: z.int().min(0) }),
]);
const scriptSchema = z.strictObject({
  status: z.int().min(200).max(599).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  chunks: z.array(chunkSchema),
  delaysMs: z.array(ms).optional(),
  headDelayMs: ms.optional(),
  end: z.enum(['eof', 'reset', 'hold']).optional(),
  keepAliveMs: ms.optional(),
  onReuse: z.literal('reset-before-answer').optional(),
  dialect: z.enum(['openai', 'ollama']).optional(),
});

/** A script, or a list of them to be played in turn, from a JSON value. Throws an Error that says what is wrong. */
export function readScripts(value: unknown): readonly Script[] {
  const parsed = z
    .array(scriptSchema)
    .min(1)
    .safeParse(Array.isArray(value) ? value : [value]);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new Error(`It is no script: ${path.join('.')}: ${message}`);
}

/** A chunk's bytes in the pieces in which they are written: one, unless the chunk repeats a text. */
export function* piecesOf(chunk: Chunk): Generator<Buffer> {
  if (typeof chunk === 'string') yield Buffer.from(chunk);
  else if ('base64' in chunk) yield Buffer.from(chunk.base64, 'base64');
  else {
    const unit = Buffer.from(chunk.repeat);
    const units = Math.max(1, Math.floor(PIECE_BYTES / unit.length));
    const piece = Buffer.alloc(unit.length * Math.min(units, chunk.times), unit);
    for (let left = chunk.times; left > 0; left -= units) {
      yield left >= units ? piece : piece.subarray(0, unit.length * left);
    }
  }
}

/** The bytes of a script's body. */
export function bodyBytes({ chunks }: Script): number {
  let bytes = 0;
  for (const chunk of chunks) {
    if (typeof chunk === 'string') bytes += Buffer.byteLength(chunk);
    else if ('base64' in chunk) bytes += Buffer.byteLength(chunk.base64, 'base64');
    else bytes += Buffer.byteLength(chunk.repeat) * chunk.times;
  }
  return bytes;
}

/** The same bytes in writes of one byte; a chunk's delay stands before its first. For bodies of some kilobytes. */
export function oneByteAWrite(script: Script): Script {
  const chunks: Chunk[] = [];
  const delaysMs: number[] = [];
  for (const [index, chunk] of script.chunks.entries()) {
    let delayMs = script.delaysMs?.[index] ?? 0;
    for (const piece of piecesOf(chunk)) {
      for (const byte of piece) {
        chunks.push({ base64: Buffer.of(byte).toString('base64') });
        delaysMs.push(delayMs);
        delayMs = 0;
      }
    }
  }
  return { ...script, chunks, delaysMs };
}
