// Streams without a model, as the benchmarks of what a connection costs have them: a server that says the same pieces to everybody,
// and the orders to its clients. Nothing in them ends because of a silence.
import type { Order } from './client-process.ts';
import { REQUEST } from './recording.ts';
import { KEY, type Target } from './servers.ts';

export const STREAM_PATH = '/v1/models/deepseek-r1/generate_stream';
export const RESUMABLE = { 'x-sluice-resumable': '1' };
/** Of an answer that is said whole. */
export const PIECES = 150;
const STEP_MS = 20;

/** So many, of several lengths and scripts. */
export function scriptedPieces(count: number): string[] {
  return Array.from({ length: count }, (_, index) => ['量子', ' computing', '，', ' bits'][index % 4]!);
}

/** A server with one scripted back end; `fake`: what of it is otherwise than usual. */
export function scriptedServer(fake: object, settings: object = {}): object {
  return {
    log_level: 'info',
    keep_alive_ms: 3_600_000,
    silence_limit_ms: 3_600_000,
    backends: [{ kind: 'fake', slots: 10_000, first_token_ms: 0, token_ms: STEP_MS, ...fake }],
    ...settings,
  };
}

export function streamOrder(
  { port }: Target,
  kind: 'stream' | 'open' | 'close',
  count: number,
  headers: Readonly<Record<string, string>>,
): Order {
  return { kind, port, count, path: STREAM_PATH, body: REQUEST, key: KEY, headers };
}
