// Guards the one table of paths: model ids of any spelling come out decoded, and what is no path of ours is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Match, matchRoute } from './routes.ts';

const facts = ({ route, model, methods }: Match) => [route.name, model, methods.join(' ')];
const read = 'GET HEAD';

test('every fixed path has its route, its methods and its access', () => {
  const table = [
    ['/', 'front_page', read, 'open-on-loopback'],
    ['/healthz', 'healthz', read, 'open'],
    ['/readyz', 'readyz', read, 'open'],
    ['/metrics', 'metrics', read, 'open-on-loopback'],
    ['/v1/models', 'models', read, 'key'],
  ] as const;
  for (const [path, name, methods, access] of table) {
    const match = matchRoute(path);
    assert.deepEqual(facts(match), [name, undefined, methods], path);
    assert.equal(match.route.access, access, path);
  }
  for (const path of ['/v1/chat/completions', '/v1/completions', '/v1/responses']) {
    const match = matchRoute(path);
    assert.equal(match.route.kind, 'generation');
    assert.equal(match.route.access, 'key');
    assert.deepEqual([match.model, match.methods], [undefined, ['POST']]);
  }
});

test('the socket is got, with a key', () => {
  const match = matchRoute('/v1/socket');
  assert.deepEqual(facts(match), ['socket', undefined, 'GET']);
  assert.equal(match.route.access, 'key');
});

test("the article's endpoints take the model from the path, with slashes raw or encoded", () => {
  for (const [path, name, model] of [
    ['/v1/models/deepseek-r1/generate_stream', 'generate_stream', 'deepseek-r1'],
    ['/v1/models/deepseek-r1/generate', 'generate', 'deepseek-r1'],
    ['/v1/models/deepseek-ai/DeepSeek-R1/generate_stream', 'generate_stream', 'deepseek-ai/DeepSeek-R1'],
    ['/v1/models/deepseek-ai%2FDeepSeek-R1/generate', 'generate', 'deepseek-ai/DeepSeek-R1'],
    ['/v1/models/deepseek-ai%2fDeepSeek-R1/generate_stream', 'generate_stream', 'deepseek-ai/DeepSeek-R1'],
    ['/v1/models/generate/generate', 'generate', 'generate'],
    ['/v1/models/my%20model/generate', 'generate', 'my model'],
  ] as const) {
    const match = matchRoute(path);
    assert.deepEqual(facts(match), [name, model, 'POST'], path);
    assert.equal(match.route.access, 'key');
  }
});

test('a model card is found by any id', () => {
  for (const [path, model] of [
    ['/v1/models/deepseek-r1', 'deepseek-r1'],
    ['/v1/models/a/b/c', 'a/b/c'],
    ['/v1/models/a%2Fb', 'a/b'],
    ['/v1/models/generate', 'generate'],
    ['/v1/models//generate', '/generate'],
  ] as const) {
    assert.deepEqual(facts(matchRoute(path)), ['model', model, read], path);
  }
});

test('ids beyond ASCII come out as they were meant, decoded once', () => {
  assert.equal(matchRoute(`/v1/models/${encodeURIComponent('深度/求索')}/generate`).model, '深度/求索');
  assert.equal(matchRoute('/v1/models/100%2525/generate').model, '100%25');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (id) => {
      fc.pre(!id.includes('\0') && !id.endsWith('/'));
      assert.equal(matchRoute(`/v1/models/${encodeURIComponent(id)}/generate_stream`).model, id);
    }),
  );
});

test('a stream is read and ended by its name', () => {
  for (const [path, stream] of [
    ['/v1/streams/a-_9', 'a-_9'],
    ['/v1/streams/a-_9/', 'a-_9'],
    ['/v1/streams/a%2Fb', 'a/b'],
  ] as const) {
    const match = matchRoute(path);
    assert.deepEqual([...facts(match), match.stream], ['stream', undefined, 'GET DELETE', stream], path);
    assert.equal(match.route.access, 'key');
  }
  assert.throws(() => matchRoute('/v1/streams'), { code: 'not_found' });
});

test('a slash at the end changes nothing', () => {
  assert.equal(matchRoute('/healthz/').route.name, 'healthz');
  assert.equal(matchRoute('/v1/models/').route.name, 'models');
  assert.equal(matchRoute('/v1/chat/completions/').route.kind, 'generation');
  assert.deepEqual(facts(matchRoute('/v1/models/m/generate_stream/')), ['generate_stream', 'm', 'POST']);
  assert.deepEqual(facts(matchRoute('/v1/models/m/')), ['model', 'm', read]);
});

test('a path that is no text is refused', () => {
  for (const path of [
    '/%00',
    '/v1/models/a%00b/generate',
    '/%',
    '/%zz',
    '/%ff',
    '/v1/models/%e4%b8/generate',
  ]) {
    assert.throws(() => matchRoute(path), { code: 'invalid_request' }, path);
  }
});

test('what is in no table is not found, and the answer says what there is', () => {
  const paths = [
    '',
    '*',
    '/v1',
    '/v2/models',
    '/admin',
    '/healthzz',
    '/HEALTHZ',
    '/../etc/passwd',
    '/__proto__',
  ];
  for (const path of [...paths, '/v1/chat/completions/x', '/v1/chat']) {
    assert.throws(() => matchRoute(path), { code: 'not_found', message: /\/v1\/chat\/completions/ }, path);
  }
});

test('the operator’s paths exist only where there is an admin key, and nobody is told of them', () => {
  assert.throws(() => matchRoute('/admin/backends'), { code: 'not_found' });
  const match = matchRoute('/admin/backends/', true);
  assert.deepEqual([...facts(match), match.route.access], ['admin_backends', undefined, read, 'admin']);
  for (const hasAdmin of [true, false]) {
    assert.throws(
      () => matchRoute('/admin', hasAdmin),
      (thrown: Error) => !thrown.message.includes('/admin'),
    );
  }
});

test('whatever the path, there is a match or one of two errors', () => {
  const bits = fc.constantFrom(
    '/',
    '%',
    '2F',
    '00',
    'v1',
    'models',
    'generate',
    'a',
    'é',
    '\0',
    '\ud800',
    '.',
    '\n',
  );
  fc.assert(
    fc.property(fc.array(bits), fc.constantFrom('/', '/v1/models/', ''), (rest, prefix) => {
      try {
        matchRoute(prefix + rest.join(''));
      } catch (thrown) {
        assert.match((thrown as { code: string }).code, /^(not_found|invalid_request)$/);
      }
    }),
  );
});
