// The real program before two scripted back ends, of which one breaks: the client reads one whole answer, told apart only
// by what the report and the metrics say.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { metric, post, type Sluice, startSluice } from './harness.ts';

const PIECES = ['One ', 'two, ', '三 ', 'four 😀', ' five.'];
const WHOLE = PIECES.join('');
const fake = { kind: 'fake', first_token_ms: 2, token_ms: 2, pieces: PIECES };

/** What a stream of chat completions said. */
async function readStream(response: Response) {
  let [words, reasoning, roles] = ['', '', 0];
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: '));
  const chunks = lines.slice(0, -1).map((line) => JSON.parse(line.slice('data: '.length)));
  for (const { choices } of chunks) {
    const { delta } = choices[0] ?? {};
    words += delta?.content ?? '';
    reasoning += delta?.reasoning_content ?? '';
    if (delta?.role) roles += 1;
  }
  const ids = new Set(chunks.map(({ id }) => id));
  return { words, reasoning, roles, ids: ids.size, last: lines.at(-1), report: chunks.at(-1)?.sluice };
}

const ask = (url: string, body: object = {}, headers: Record<string, string> = {}) =>
  post(
    `${url}/v1/chat/completions`,
    { model: 'deepseek-r1', stream: true, messages: [{ role: 'user', content: 'Count.' }], ...body },
    { headers: { 'x-sluice-report': '1', ...headers } },
  );

describe('one of two back ends breaks in every answer', () => {
  let sluice: Sluice;
  before(async () => {
    const backends = [
      { ...fake, id: 'breaks', fail_after: 3 },
      { ...fake, id: 'lasts' },
    ];
    sluice = await startSluice({ config: { backends } });
  });
  after(() => sluice.stop());

  test('the other goes on: one answer, one id, one role, one end', async () => {
    const { words, roles, ids, last, report } = await readStream(await ask(sluice.url));
    assert.equal(words, WHOLE);
    assert.deepEqual([roles, ids, last], [1, 1, 'data: [DONE]']);
    assert.deepEqual([report.continued, report.backend], [1, 'lasts']);
    assert.ok((await metric(sluice.url, 'sluice_continuations_total{kind="text"}')) >= 1);
  });

  test('an answer as one JSON object is whole too, and its usage counts both parts', async () => {
    const response = await ask(sluice.url, { stream: false });
    const { choices, usage } = (await response.json()) as {
      choices: { message: { content: string } }[];
      usage: { completion_tokens: number };
    };
    assert.deepEqual([choices[0]!.message.content, usage.completion_tokens], [WHOLE, PIECES.length]);
  });

  test('who wants no failover gets an honest error', async () => {
    const text = await (await ask(sluice.url, {}, { 'x-sluice-failover': 'off' })).text();
    assert.match(text, /"error":\{"message":"The fake back end broke, as it was told to\."/);
    assert.doesNotMatch(text, /\[DONE\]/);
  });

  test('what the client has begun is gone on with, cut at any character, and not sent again', async () => {
    const characters = [...WHOLE];
    for (let cut = 0; cut <= characters.length; cut += 1) {
      const content = characters.slice(0, cut).join('');
      const { words } = await readStream(
        await ask(sluice.url, {
          messages: [
            { role: 'user', content: 'Count.' },
            { role: 'assistant', content },
          ],
          continue_final_message: true,
          add_generation_prompt: false,
        }),
      );
      assert.equal(content + words, WHOLE);
    }
  });
});

describe('the first of two back ends breaks before its first word, or in its thought', () => {
  test('the other answers, and the head of the answer names it', async () => {
    const backends = [
      { ...fake, id: 'breaks', fail_after: 0 },
      { ...fake, id: 'lasts' },
    ];
    const sluice = await startSluice({ config: { backends, continuation: false } });
    try {
      const response = await ask(sluice.url);
      assert.equal(response.headers.get('x-sluice-backend'), 'lasts');
      const { words, report } = await readStream(response);
      assert.deepEqual([words, report.continued], [WHOLE, 0]);
      assert.equal(await metric(sluice.url, 'sluice_failovers_total{code="backend_failed"}'), 1);
    } finally {
      await sluice.stop();
    }
  });

  test('a thought goes on where it broke off', async () => {
    const reasoning = ['Hm, ', 'let me ', 'count.'];
    const backends = [
      { ...fake, reasoning, id: 'breaks', fail_after: 2 },
      { ...fake, reasoning, id: 'lasts' },
    ];
    const sluice = await startSluice({ config: { backends } });
    try {
      const read = await readStream(await ask(sluice.url));
      assert.deepEqual([read.reasoning, read.words], ['Hm, let me count.', WHOLE]);
    } finally {
      await sluice.stop();
    }
  });
});
