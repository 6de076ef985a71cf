// Writes down what Sluice sends, so that the bare server can send the same bytes.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchFolder } from './scratch.ts';
import { KEY, type Target } from './servers.ts';

export interface Recording {
  readonly stepMs: number;
  /** Chunks after which a stream stays open and silent. */
  readonly stallAfter: number | undefined;
  readonly stream: { readonly headers: Record<string, string>; readonly chunks: readonly string[] };
  readonly json: { readonly headers: Record<string, string>; readonly body: string };
}

export const REQUEST = JSON.stringify({
  prompt: '请用三句话介绍量子计算。 '.repeat(20),
  max_tokens: 2048,
  temperature: 0.6,
});

/** Headers that node:http adds by itself. */
const AUTOMATIC = new Set(['connection', 'date', 'keep-alive', 'transfer-encoding']);

/** Returns the file's path. */
export async function record(sluice: Target, stepMs: number, stallAfter?: number): Promise<string> {
  const base = `http://127.0.0.1:${sluice.port}/v1/models/deepseek-r1`;
  const init = {
    method: 'POST',
    body: REQUEST,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
  };
  const stream = await fetch(`${base}/generate_stream`, init);
  const chunks =
    stallAfter === undefined ? (await stream.text()).split(/(?<=\n)/) : await firstLines(stream, stallAfter);
  const json =
    stallAfter === undefined
      ? await fetch(`${base}/generate`, init).then(async (one) => ({
          headers: plain(one.headers),
          body: await one.text(),
        }))
      : { headers: {}, body: '' };
  const recording: Recording = {
    stepMs,
    stallAfter,
    stream: { headers: plain(stream.headers), chunks },
    json,
  };
  const file = join(scratchFolder(), 'recording.json');
  writeFileSync(file, JSON.stringify(recording));
  return file;
}

async function firstLines(response: Response, count: number): Promise<string[]> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body!) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split(/(?<=\n)/);
    if (lines.length >= count && text.endsWith('\n')) return lines.slice(0, count);
  }
  return [text];
}

function plain(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !AUTOMATIC.has(name)));
}
