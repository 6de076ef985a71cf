// The whole server before three equal back ends: conversations and sessions go back to where they were, new ones anywhere,
// and a server whose limits are used up is left alone.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startInProcess } from '../in-process.ts';
import { streamOf } from '../upstream/answers.ts';
import { startUpstream } from '../upstream/faulty-upstream.ts';
import { post } from './harness.ts';

const UPSTREAMS = ['a', 'b', 'c'] as const;

/** `tiers`: as `backends` of the model has it. */
async function setUp(t: TestContext, tiers: readonly (string | readonly string[])[]) {
  const upstreams = await Promise.all(UPSTREAMS.map(() => startUpstream()));
  t.after(() => Promise.all(upstreams.map((upstream) => upstream.close())));
  for (const upstream of upstreams) upstream.play(streamOf('ok'));
  const backends = upstreams.map(({ url }, at) => ({ id: UPSTREAMS[at]!, url, slots: 8 }));
  const server = await startInProcess({ backends, models: [{ id: 'case', backends: tiers }] });
  t.after(() => server.close());
  /** Resolves to the back end that answered. */
  const ask = async (messages: readonly object[], headers: Readonly<Record<string, string>> = {}) => {
    const body = { model: 'case', stream: true, messages };
    const response = await post(`${server.url}/v1/chat/completions`, body, { headers });
    assert.match(await response.text(), /"ok"[\s\S]*\[DONE\]/);
    return response.headers.get('x-sluice-backend');
  };
  return { upstreams, ask };
}

test('a conversation goes back to where it began, and each begins anywhere', async (t) => {
  const { ask } = await setUp(t, [UPSTREAMS]);
  const homes = new Map<number, string | null>();
  const conversations = Array.from({ length: 15 }, (_, at) => [
    { role: 'user', content: `${at}: ${'a long question '.repeat(40)}` },
  ]);
  for (let turn = 0; turn < 4; turn += 1) {
    for (const [at, messages] of conversations.entries()) {
      const backend = await ask(messages);
      if (turn === 0) homes.set(at, backend);
      assert.equal(backend, homes.get(at), `turn ${turn} of ${at}`);
      messages.push({ role: 'assistant', content: 'ok' }, { role: 'user', content: 'And then? '.repeat(30) });
    }
  }
  assert.ok(new Set(homes.values()).size > 1, 'all of them began at one');
});

test('a session goes back to where it was, however short its prompts are', async (t) => {
  const { ask } = await setUp(t, [UPSTREAMS]);
  const first = new Map<string, string | null>();
  for (let turn = 0; turn < 4; turn += 1) {
    for (let at = 0; at < 15; at += 1) {
      const session = `chat-${at}`;
      const backend = await ask([{ role: 'user', content: `${turn}` }], { 'x-sluice-session': session });
      if (turn === 0) first.set(session, backend);
      assert.equal(backend, first.get(session), `turn ${turn} of ${session}`);
    }
  }
  assert.ok(new Set(first.values()).size > 1, 'all of them began at one');
});

test('a server that says that nothing is left is not asked before it has to refuse', async (t) => {
  const { upstreams, ask } = await setUp(t, ['a', ['b', 'c']]);
  const good = streamOf('ok');
  const limits = { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '6m0s' };
  upstreams[0]!.play({ ...good, headers: { ...good.headers, ...limits } });
  const question = [{ role: 'user', content: 'hi' }];
  assert.equal(await ask(question), 'a');
  for (let count = 0; count < 5; count += 1) assert.notEqual(await ask(question), 'a');
  assert.equal(upstreams[0]!.requests.length, 1);
});
