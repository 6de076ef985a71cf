// A model that is cut into several files, each with a source of its own, as an index with a limit on sizes makes it
// necessary: the parts are fetched in order and joined. It fetches nothing by itself, and joins no part whose size or hash is
// known and differs.
import { createHash } from 'node:crypto';
import type { PartOfModel, SingleSource, Source } from '../catalogue.ts';
import { hashFile } from '../hash-file.ts';
import { ModelStoreError, reasonOf } from '../model-store-error.ts';
import { PartFile } from '../part-file.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import { filePieces } from './file-pieces.ts';

type PartsSource = Extract<Source, { kind: 'parts' }>;
type FetchSingle = (source: SingleSource, context: SourceContext) => Promise<Fetched>;

/**
 * `fetchSingle` brings one part. Throws ModelStoreError as the parts' sources do, but never `unreachable` once a part is
 * there; and the signal's reason when aborted.
 */
export async function fetchFromParts(
  source: PartsSource,
  context: SourceContext,
  fetchSingle: FetchSingle,
): Promise<Fetched> {
  const { part, signal } = context;
  const identity = identityOf(source);
  // Where each part that was joined ends: what lies behind the last of them was being written when the process ended.
  const ends = [...((await part.resume(identity))?.ends ?? [])].slice(0, source.parts.length);
  const wasBegun = ends.length > 0;
  const state: JoinState = { ends, isAnnounced: false, from: '' };
  for (const [index, piece] of source.parts.entries()) {
    if (index < ends.length) continue;
    signal.throwIfAborted();
    const file = new PartFile(`${part.path}-${index + 1}`, context.entry.title);
    try {
      await fetchPiece({ index, piece, file, state, source }, context, fetchSingle);
    } catch (thrown) {
      signal.throwIfAborted();
      throw asBroken(thrown, state.ends.length > 0, context.entry.title);
    }
    await join(file, context, state);
    await part.remember({ identity, ends: state.ends });
    await file.discard();
  }
  return { from: state.from || `${source.parts.length} parts`, resumed: wasBegun };
}

interface JoinState {
  readonly ends: number[];
  isAnnounced: boolean;
  from: string;
}

interface Piece {
  readonly index: number;
  readonly piece: PartOfModel;
  readonly file: PartFile;
  readonly state: JoinState;
  readonly source: PartsSource;
}

/** Leaves the whole part in its own file. */
async function fetchPiece(job: Piece, context: SourceContext, fetchSingle: FetchSingle): Promise<void> {
  const { index, piece, file } = job;
  const ownContext = contextOf(job, context);
  for (let isSecond = false; ; isSecond = true) {
    const fetched = await fetchSingle(piece.source, ownContext);
    const bytes = await file.bytes();
    const expected = piece.sha256 ?? fetched.sha256;
    const found =
      expected === undefined
        ? undefined
        : await hashFile(file.path, { signal: context.signal, onBytes: () => {} });
    if (bytes > 0 && bytes === (piece.bytes ?? bytes) && found === expected) return;
    await file.discard();
    // Two halves of different files look like this; one honest try from the start tells.
    if (fetched.resumed && !isSecond) continue;
    throw new ModelStoreError(
      'checksum',
      `Part ${index + 1} of ${context.entry.title} from ${fetched.from} is not what it should be. It was removed.`,
    );
  }
}

function contextOf({ piece, file, state, source }: Piece, context: SourceContext): SourceContext {
  const { entry, meter } = context;
  const start = state.ends.at(-1) ?? 0;
  const whole = entry.bytes ?? entry.aboutBytes;
  const { bytes: _, sha256: __, ...rest } = entry;
  return {
    ...context,
    entry: {
      ...rest,
      ...(piece.bytes !== undefined && { bytes: piece.bytes }),
      aboutBytes: piece.bytes ?? entry.aboutBytes,
    },
    sha256: piece.sha256,
    part: file,
    // A part without a hash is checked with the whole; nothing need be said about it.
    say: piece.sha256 === undefined && context.sha256 !== undefined ? () => {} : context.say,
    meter: {
      begin: (phase, bytes) => meter.begin(phase, start + bytes, whole),
      at: (bytes) => meter.at(start + bytes),
      end: () => meter.end(),
    },
    async begin(_bytes, diskBytes, from) {
      state.from ||= source.parts.length > 1 ? `${from} and ${source.parts.length - 1} more` : from;
      // What the whole still takes, and this part beside it until it is joined.
      const rest = Math.max(0, whole - start) + diskBytes;
      await context.begin(state.isAnnounced ? 0 : whole, rest, state.from);
      state.isAnnounced = true;
    },
  };
}

async function join(file: PartFile, context: SourceContext, state: JoinState): Promise<void> {
  const { entry, part } = context;
  const start = state.ends.at(-1) ?? 0;
  try {
    const end = await part.append(filePieces(file.path, context.signal), {
      from: start,
      limitBytes: entry.bytes ?? 2 * entry.aboutBytes,
      onBytes: () => {},
    });
    state.ends.push(end);
  } catch (thrown) {
    context.signal.throwIfAborted();
    if (thrown instanceof ModelStoreError) throw thrown;
    throw new ModelStoreError('store', `${file.path} cannot be read: ${reasonOf(thrown)}.`, thrown);
  }
}

/** Once something is there, that the rest cannot be had is for the user to know, not a reason to take another model. */
function asBroken(thrown: unknown, hasSome: boolean, title: string): unknown {
  if (!hasSome || !(thrown instanceof ModelStoreError) || thrown.code !== 'unreachable') return thrown;
  const kept = `The parts of ${title} that arrived are kept: start again to go on.`;
  return new ModelStoreError('broken', `${thrown.message} ${kept}`, thrown);
}

/** Of exactly these parts in this order. */
function identityOf(source: PartsSource): string {
  return `parts ${createHash('sha256').update(JSON.stringify(source.parts)).digest('hex')}`;
}
