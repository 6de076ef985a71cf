// Tool calls through the whole server, as each client's user sees them: streamed in pieces by another server, and whole.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Sluice, startSluice } from '../e2e/harness.ts';
import { chunkOf, DONE, EVENT_STREAM, endChunk, JSON_BODY, toolChunk } from '../upstream/answers.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import type { Script } from '../upstream/script.ts';
import { type Asked, type Client, type Seen, WEATHER } from './client.ts';
import { CLIENTS } from './clients.ts';

const CALLS = [
  { id: 'call-a', city: '北京' },
  { id: 'call-b', city: 'Nîmes' },
];
const EXPECTED = CALLS.map(({ city }) => ({ name: WEATHER.name, arguments: { city } }));

const STREAMED: Script = {
  headers: EVENT_STREAM,
  chunks: [
    chunkOf({ delta: { role: 'assistant', content: '' } }),
    ...CALLS.flatMap(({ id, city }, index) => [
      toolChunk({ index, id, type: 'function', function: { name: WEATHER.name, arguments: '' } }),
      toolChunk({ index, function: { arguments: '{"ci' } }),
      toolChunk({ index, function: { arguments: `ty": "${city}"}` } }),
    ]),
    endChunk('tool_calls'),
    DONE,
  ],
};

const WHOLE: Script = {
  headers: JSON_BODY,
  chunks: [
    JSON.stringify({
      id: 'c-1',
      object: 'chat.completion',
      created: 1_764_000_000,
      model: 'up',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: null,
            tool_calls: CALLS.map(({ id, city }) => ({
              id,
              type: 'function',
              function: { name: WEATHER.name, arguments: JSON.stringify({ city }) },
            })),
          },
          finish_reason: 'tool_calls',
        },
      ],
      usage: { prompt_tokens: 20, completion_tokens: 12, total_tokens: 32 },
    }),
  ],
};

let upstream: Upstream;
let sluice: Sluice;
before(async () => {
  upstream = await startUpstream();
  const url = `${upstream.url}/v1`;
  sluice = await startSluice({ config: { backends: [{ id: 'tools', url, kind: 'generic' }] } });
});
after(async () => {
  await sluice?.stop();
  await upstream?.close();
});

function ask(client: Client, stream: boolean): Promise<Seen> {
  upstream.play(stream ? STREAMED : WHOLE);
  const asked: Asked = {
    url: sluice.url,
    model: 'case',
    prompt: 'Weather?',
    maxTokens: 64,
    stream,
    tools: true,
  };
  return client.ask(asked);
}

for (const client of CLIENTS.filter(({ shows }) => shows.tools)) {
  describe(client.name, { skip: client.missing }, () => {
    for (const stream of [true, false]) {
      test(`two calls, ${stream ? 'streamed in pieces' : 'as one JSON'}`, async () => {
        const seen = await ask(client, stream);
        assert.equal(seen.error, undefined);
        assert.deepEqual(seen.toolCalls, EXPECTED);
        assert.deepEqual(seen.pieces, []);
        // Each client spells it as it likes.
        assert.match(String(seen.finish), /^tool[_-]calls$/);
        const { tools } = JSON.parse(upstream.requests.at(-1)!.body);
        assert.equal(tools[0].function.name, WEATHER.name);
        assert.deepEqual(tools[0].function.parameters.required, ['city']);
      });
    }
  });
}
