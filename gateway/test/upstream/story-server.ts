// A back end as a process of its own, for tests that kill it: it tells one story, from wherever the answer stands that it is to
// go on with, in chat and in text completions.
//   node gateway/test/upstream/story-server.ts PORT PIECES PIECE_MS
import { chunkOf, DONE, EVENT_STREAM, endChunk, textChunk } from './answers.ts';
import { startUpstream } from './faulty-upstream.ts';
import type { Script } from './script.ts';
import { restOf, storyOf } from './story.ts';

/** The prompt of every text completion: what stands behind it is the answer's beginning. */
export const STORY_PROMPT = 'Go on.';

interface Body {
  readonly prompt?: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
}

function scriptFor(story: readonly string[], pieceMs: number, { prompt, messages = [] }: Body): Script {
  const last = messages.at(-1);
  const begun = last?.role === 'assistant' ? last.content : '';
  const said = prompt === undefined ? begun : prompt.slice(STORY_PROMPT.length);
  const chunkFor = (text: string) => (prompt === undefined ? textChunk(text) : chunkOf({ text }));
  const words = restOf(story, said).map(chunkFor);
  return { headers: EVENT_STREAM, chunks: [...words, endChunk(), DONE], delaysMs: words.map(() => pieceMs) };
}

if (import.meta.main) {
  const [port, pieces, pieceMs] = process.argv.slice(2).map(Number) as [number, number, number];
  const story = storyOf(pieces);
  const upstream = await startUpstream({ port });
  upstream.play(({ body }) => scriptFor(story, pieceMs, JSON.parse(body) as Body));
  process.stdout.write('listening\n');
}
