// Before it refuses, the server gives up what a model allows: over real sockets, with scripted back ends of which one is
// always busy. What is given up stands in the head, the report and the metrics; without opt-in nothing is.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { jsonOf } from '../upstream/answers.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import { metric, post, waitUntil } from './harness.ts';

const price = { input: 1, output: 1 };
const quick = { kind: 'fake', first_token_ms: 2, token_ms: 2, pieces: ['short', ' and ', 'quick'] };
/** The busy one: what it is asked for beyond three pieces takes until the test ends. */
const own = {
  kind: 'fake',
  id: 'own',
  slots: 1,
  first_token_ms: 2,
  token_ms: 5,
  pieces: Array(4_000).fill('x '),
};
const spill = (budget: number) => ({ backends: ['cloud'], budget_per_day: budget });
const model = (id: string, rest: object = {}) => ({ id, backends: ['own'], ...rest });

let upstream: Upstream;
let server: InProcessServer;
before(async () => {
  upstream = await startUpstream();
  const late = { ...quick, id: 'late', slots: 24, first_token_ms: 1_000 };
  const backends = [own, late, { ...quick, id: 'little' }, { ...quick, id: 'cloud', price }];
  server = await startInProcess({
    backends: [...backends, { id: 'upstream', url: upstream.url }],
    models: [
      model('plain'),
      model('small', { backends: ['little'] }),
      model('trims', { trim: { max_tokens: 60 } }),
      model('goes-smaller', { degrade: { smaller_model: 'small' } }),
      model('shortens', { degrade: { shorter: 3 } }),
      model('spills', { degrade: { spill: spill(100) } }),
      model('has-no-money', { degrade: { spill: spill(0) } }),
      model('late', { backends: ['late'], degrade: { smaller_model: 'small' } }),
      model('could-shorten', { degrade: { shorter: 3 } }),
      model('both', { trim: { max_tokens: 60 }, degrade: { shorter: 3 } }),
      model('always', { backends: ['upstream'], trim: { max_tokens: 60, always: true } }),
    ],
    queue: { max_tokens: 1_000 },
  });
});
after(async () => {
  await server?.close();
  await upstream?.close();
});

/** 700 tokens by estimate, of which 60 are the last turn's. */
const LONG = [
  { role: 'user', content: 'a'.repeat(1_000) },
  { role: 'assistant', content: 'b'.repeat(1_000) },
  { role: 'user', content: 'What now?' },
];
const SHORT = LONG.slice(-1);

const ask = (name: string, body: object = {}, headers: Record<string, string> = {}) =>
  post(
    `${server.url}/v1/chat/completions`,
    { model: name, stream: true, messages: SHORT, max_tokens: 3, ...body },
    { headers: { 'x-sluice-report': '1', ...headers } },
  );

/** Runs `look` while one call runs on the busy back end and one waits; then both leave. */
async function whileBusy<T>(look: (letGo: () => void) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const long = { model: 'plain', stream: true, messages: SHORT, max_tokens: 600 };
  const leaving = [1, 2].map(() =>
    post(`${server.url}/v1/chat/completions`, long, { signal: abort.signal })
      .then((response) => response.text())
      .catch(() => {}),
  );
  const numberOf = (name: string) => metric(server.url, `sluice_requests_${name}`);
  await waitUntil(
    async () => (await numberOf('running')) === 1 && (await numberOf('waiting')) === 1,
    5_000,
    () => 'the back end does not get busy',
  );
  const letGo = () => abort.abort();
  try {
    return await look(letGo);
  } finally {
    letGo();
    await Promise.allSettled(leaving);
    await waitUntil(
      async () => (await numberOf('running')) + (await numberOf('waiting')) === 0,
      5_000,
      () => 'the back end stays busy',
    );
  }
}

/** What came of a request that was sent while the back end was busy. `letGo`: it is free then. */
function asked(name: string, body: object = {}, headers: Record<string, string> = {}) {
  return whileBusy(async (letGo) => {
    const answer = ask(name, body, headers);
    // It waits in the queue, in which there was room for what is left of it.
    await Promise.race([answer, waitUntil(waits, 5_000, () => '').catch(() => {})]);
    letGo();
    const response = await answer;
    const text = await response.text();
    const report = /"sluice":(\{[^}]*\})/.exec(text)?.[1] ?? '{}';
    const header = (one: string) => response.headers.get(`x-sluice-${one}`);
    return {
      status: response.status,
      degraded: header('degraded'),
      model: header('model'),
      backend: header('backend'),
      reported: JSON.parse(report).degraded,
      text,
    };
  });
}

const waits = async () => (await metric(server.url, 'sluice_requests_waiting')) >= 2;
const counted = (step: string) => metric(server.url, `sluice_degraded_total{step="${step}"}`);

for (const [name, steps, backend, body] of [
  ['trims', 'trimmed', 'own', { messages: LONG }],
  ['goes-smaller', 'smaller-model', 'little', { max_tokens: 600 }],
  ['shortens', 'shorter', 'own', { max_tokens: 600 }],
  ['spills', 'spill', 'cloud', { max_tokens: 600 }],
  ['both', 'trimmed,shorter', 'own', { messages: LONG, max_tokens: 600 }],
] as const) {
  test(`${steps}: the answer comes, and says what was given up for it`, async () => {
    const answer = await asked(name, body);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual([answer.degraded, answer.reported], [steps, steps]);
    assert.deepEqual([answer.backend, answer.model], [backend, backend], 'who really spoke');
    assert.match(answer.text, /\[DONE\]/);
    for (const step of steps.split(',')) assert.ok((await counted(step)) >= 1, step);
  });
}

test('a first token that would come after its deadline is another reason, once the back end was measured', async () => {
  await Promise.all(
    Array.from({ length: 24 }, async () => {
      const response = await ask('late');
      assert.equal(response.headers.get('x-sluice-degraded'), null);
      await response.text();
    }),
  );
  const due = { 'x-sluice-deadline-ms': '500' };
  // Who is alone with a back end is never turned away from it: how fast it is now, nobody would learn otherwise.
  const beside = ask('late');
  await waitUntil(
    async () => (await metric(server.url, 'sluice_requests_running')) === 1,
    5_000,
    () => 'no call runs',
  );
  const response = await ask('late', {}, due);
  assert.equal(response.status, 200, await response.text());
  assert.equal(response.headers.get('x-sluice-degraded'), 'smaller-model');
  const refused = await ask('late', {}, { ...due, 'x-sluice-degrade': 'off' });
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /The first token is due in \d+ ms/);
  await (await beside).text();
});

test('without opt-in, of the model or of the client, the answer is an honest refusal', async () => {
  for (const [name, headers] of [
    ['plain', {}],
    ['has-no-money', {}],
    ['could-shorten', { 'x-sluice-degrade': 'off' }],
  ] as const) {
    const { status, degraded, text } = await asked(name, { max_tokens: 600 }, headers);
    assert.deepEqual([status, degraded], [503, null], name);
    assert.match(text, /"code":"overloaded"/);
  }
});

test('where there is room nothing is given up', async () => {
  for (const name of ['trims', 'goes-smaller', 'shortens', 'spills', 'both']) {
    const response = await ask(name, { messages: LONG });
    assert.equal(response.headers.get('x-sluice-degraded'), null, name);
    assert.equal(response.headers.get('x-sluice-backend'), 'own');
    await response.text();
  }
});

test('a model that always trims sends on what is left, and says so; a client may have all of it', async () => {
  upstream.play(jsonOf('fine'));
  const sent = async (headers: Record<string, string>) => {
    const response = await ask('always', { messages: LONG, stream: false }, headers);
    assert.equal(response.status, 200, await response.text());
    const { messages } = JSON.parse(upstream.requests.at(-1)!.body);
    return { degraded: response.headers.get('x-sluice-degraded'), messages: messages.length };
  };
  assert.deepEqual(await sent({}), { degraded: 'trimmed', messages: 1 });
  assert.deepEqual(await sent({ 'x-sluice-degrade': 'off' }), { degraded: null, messages: 3 });
});
