// A server of OpenAI's protocol as a remote back end keeps the contract, whatever the server does not do for it: the
// upstream here gives several choices and keeps to max_tokens, and has never heard of stop strings.
import { RemoteBackend } from '../../src/backends/remote/remote-backend.ts';
import { chunkOf, DONE, EVENT_STREAM, endChunk, eventOf, textChunk } from '../upstream/answers.ts';
import { startUpstream, type UpstreamRequest } from '../upstream/faulty-upstream.ts';
import type { Script } from '../upstream/script.ts';
import { describeBackend, type Manner } from './backend.ts';
import { PIECES } from './pieces.ts';

const PACE_MS = 1;
const BEFORE_SILENCE = 3;

describeBackend('a remote back end of the OpenAI protocol', async (manner) => {
  const answer = (request: UpstreamRequest) => scriptFor(manner, request);
  let upstream = await startUpstream();
  upstream.play(answer);
  const { port } = upstream;
  const backend = new RemoteBackend({
    id: 'remote',
    url: `${upstream.url}/v1`,
    kind: 'generic',
    apiKey: 'sk-of-the-upstream',
    firstTokenTimeoutMs: 600_000,
    answerTimeoutMs: 10_000,
    probeIntervalMs: 10_000,
    silenceLimitMs: 600_000,
    env: {},
    log: () => {},
  });
  backend.start();
  return {
    backend,
    says: PIECES.join(''),
    kill: () => upstream.close(),
    revive: async () => {
      upstream = await startUpstream({ port });
      upstream.play(answer);
    },
    // What is held never ends by itself.
    held: () =>
      manner === 'talks' ? 0 : upstream.requests.filter((one) => one.closedByPeerAt === undefined).length,
    close: async () => {
      await backend.close();
      await upstream.close();
    },
  };
});

function scriptFor(manner: Manner, { body }: UpstreamRequest): Script {
  if (manner === 'is silent') return { headers: EVENT_STREAM, chunks: [], end: 'hold' };
  const { max_tokens: limit = PIECES.length, n = 1 } = JSON.parse(body) as {
    max_tokens?: number;
    n?: number;
  };
  const said = PIECES.slice(0, limit);
  const choices = Array.from({ length: n }, (_, index) => index);
  const opening = choices.map((index) => chunkOf({ index, delta: { role: 'assistant', content: '' } }));
  const words = said.flatMap((text) => choices.map((index) => textChunk(text, index)));
  const chunks = [...opening, ...words];
  const delaysMs = chunks.map(() => PACE_MS);
  if (manner === 'falls silent') {
    return { headers: EVENT_STREAM, chunks: chunks.slice(0, n + BEFORE_SILENCE), delaysMs, end: 'hold' };
  }
  const reason = said.length < PIECES.length ? 'length' : 'stop';
  const usage = { prompt_tokens: 7, completion_tokens: said.length * n, total_tokens: 7 + said.length * n };
  return {
    headers: EVENT_STREAM,
    chunks: [
      ...chunks,
      ...choices.map((index) => endChunk(reason, index)),
      eventOf({ choices: [], usage }),
      DONE,
    ],
    delaysMs,
  };
}
