// Guards the door: with keys nobody without one, without keys no web page of another origin, whatever its name
// resolves to; and a key for one model opens no other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccessKey, World } from '../../core/world.ts';
import type { RequestHeaders } from '../http/request-parser.ts';
import {
  authenticate,
  authorizeModel,
  hashKey,
  isAllowedOrigin,
  isLoopback,
  refuseForeignSocket,
} from './access.ts';

const KEYS: readonly AccessKey[] = [
  { tenant: 'alice', digest: hashKey('key-of-alice'), models: undefined },
  { tenant: 'bob', digest: hashKey('key-of-bob'), models: ['small'] },
];

function enter(headers: RequestHeaders, keys: readonly AccessKey[] = [], corsOrigins: string[] = []) {
  const world: World = { models: new Map(), keys };
  return authenticate({ headers }, world, { corsOrigins });
}

test('loopback is localhost, all of 127.0.0.0/8 and ::1, and nothing that only looks so', () => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]'])
    assert.ok(isLoopback(host), host);
  const others = ['0.0.0.0', '::', '10.0.0.1', '1127.0.0.1', '127.0.0.1.evil.com', 'localhost.evil.com'];
  for (const host of [...others, '127.0.0', '', 'evil-localhost']) assert.ok(!isLoopback(host), host);
});

test('an open server answers to its loopback names, with any port, in any case', () => {
  for (const host of [
    'localhost',
    'localhost:8080',
    'LocalHost:1',
    '127.0.0.1:8080',
    '127.0.0.2',
    '[::1]:8080',
    '[::1]',
  ]) {
    assert.equal(enter({ host }).tenant, 'anonymous', host);
  }
});

test('an open server refuses any other Host, as a rebound name would send it', () => {
  for (const host of [
    'evil.com',
    'evil.com:8080',
    '192.168.0.7:8080',
    'localhost.evil.com',
    '127.0.0.1.nip.io',
    '',
  ]) {
    assert.throws(() => enter({ host }), { code: 'forbidden' }, host);
  }
  assert.throws(() => enter({}), { code: 'forbidden' });
});

test('an open server refuses pages of other origins, also of another port or scheme, and those without one', () => {
  const host = 'localhost:8080';
  for (const origin of [
    'https://evil.com',
    'null',
    'http://localhost:3000',
    'https://localhost:8080',
    'http://localhost',
    '',
  ]) {
    assert.throws(() => enter({ host, origin }), { code: 'forbidden' }, origin);
  }
});

test('an open server takes its own page, programs without Origin, and the origins that are configured', () => {
  const host = 'localhost:8080';
  assert.equal(enter({ host }).tenant, 'anonymous');
  assert.equal(enter({ host, origin: 'http://localhost:8080' }).tenant, 'anonymous');
  assert.equal(
    enter({ host, origin: 'https://app.example' }, [], ['https://app.example']).tenant,
    'anonymous',
  );
  assert.equal(enter({ host, origin: 'https://any.example' }, [], ['*']).tenant, 'anonymous');
  assert.throws(() => enter({ host, origin: 'https://app.example.evil.com' }, [], ['https://app.example']), {
    code: 'forbidden',
  });
  assert.throws(() => enter({ host: 'evil.com', origin: 'https://app.example' }, [], ['*']), {
    code: 'forbidden',
  });
});

test('an open server does not mind whatever key is sent', () => {
  const { tenant } = enter({ host: 'localhost', authorization: 'Bearer whatever' });
  assert.equal(tenant, 'anonymous');
});

test('a key is taken as bearer, whatever the case of the word, or as x-api-key', () => {
  for (const scheme of ['Bearer ', 'bearer ', 'BEARER  ', 'bEaReR ']) {
    assert.equal(enter({ authorization: `${scheme}key-of-alice` }, KEYS).tenant, 'alice', scheme);
  }
  assert.equal(enter({ authorization: 'Bearer key-of-bob  ' }, KEYS).tenant, 'bob');
  assert.equal(enter({ 'x-api-key': 'key-of-bob' }, KEYS).tenant, 'bob');
  assert.equal(enter({ authorization: 'Basic abc', 'x-api-key': 'key-of-bob' }, KEYS).tenant, 'bob');
});

test('with keys, Host and Origin do not matter: a page has no key of its own', () => {
  const headers = {
    host: 'api.example',
    origin: 'https://app.example',
    authorization: 'Bearer key-of-alice',
  };
  assert.equal(enter(headers, KEYS).tenant, 'alice');
});

test('no key, an unknown one or part of one does not open', () => {
  for (const authorization of [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Bearer key-of-alic',
    'Bearer key-of-alice2',
    'Bearer key-of-alice key-of-bob',
    'Basic key-of-alice',
    'key-of-alice',
    'Bearerkey-of-alice',
  ]) {
    const headers = authorization === undefined ? {} : { authorization };
    assert.throws(() => enter(headers, KEYS), { code: 'unauthenticated' }, authorization);
  }
  assert.throws(() => enter({ 'x-api-key': '' }, KEYS), { code: 'unauthenticated' });
  assert.throws(() => enter({ 'x-api-key': 'wrong' }, KEYS), { code: 'unauthenticated' });
});

test('a key that was right opens for as long as there is it, and beside it no other', () => {
  const world: World = { models: new Map(), keys: KEYS };
  const show = (secret: string, where = world) =>
    authenticate({ headers: { authorization: `Bearer ${secret}` } }, where, { corsOrigins: [] });
  for (let time = 0; time < 2; time += 1) {
    assert.equal(show('key-of-alice').tenant, 'alice');
    assert.equal(show('key-of-bob').tenant, 'bob');
    assert.throws(() => show('key-of-carol'), { code: 'unauthenticated' });
    assert.throws(() => show('__proto__'), { code: 'unauthenticated' });
  }
  const withoutAlice: World = { ...world, keys: KEYS.filter(({ tenant }) => tenant !== 'alice') };
  assert.throws(() => show('key-of-alice', withoutAlice), { code: 'unauthenticated' });
  assert.equal(show('key-of-bob', withoutAlice).tenant, 'bob');
});

test('a refusal does not repeat the key that was shown', () => {
  try {
    enter({ authorization: 'Bearer my-typo' }, KEYS);
    assert.fail('it was let in');
  } catch (thrown) {
    assert.doesNotMatch((thrown as Error).message, /my-typo/);
  }
});

test('a key for some models opens those, a key without a list all', () => {
  const [alice, bob] = KEYS as [AccessKey, AccessKey];
  authorizeModel(alice, 'anything');
  authorizeModel(bob, 'small');
  assert.throws(() => authorizeModel(bob, 'large'), { code: 'forbidden', param: 'model' });
});

test('an origin is allowed as it is written, or all are by a star', () => {
  const rules = { corsOrigins: ['https://app.example'] };
  assert.equal(isAllowedOrigin('https://app.example', rules), true);
  assert.equal(isAllowedOrigin('https://app.example:444', rules), false);
  assert.equal(isAllowedOrigin('https://other.example', { corsOrigins: ['*'] }), true);
  assert.equal(isAllowedOrigin('https://app.example', { corsOrigins: [] }), false);
});

test('a page shows its key among the subprotocols, in whatever place; what else stands there is none', () => {
  const encoded = `key.${Buffer.from('key-of-alice').toString('base64url')}`;
  for (const offered of [`sluice.v1, ${encoded}`, `sluice.v1,${encoded}`, `${encoded}, sluice.v1`, encoded]) {
    assert.equal(enter({ 'sec-websocket-protocol': offered }, KEYS).tenant, 'alice', offered);
  }
  for (const offered of ['sluice.v1', 'key.', `sluice.v1, my${encoded}`, 'sluice.v1, key.key-of-alice']) {
    assert.throws(
      () => enter({ 'sec-websocket-protocol': offered }, KEYS),
      { code: 'unauthenticated' },
      offered,
    );
  }
});

test('a socket is for pages of the server itself, behind TLS too, and of origins that are allowed', () => {
  const refuse = (headers: RequestHeaders, corsOrigins: string[] = []) =>
    refuseForeignSocket({ headers }, { corsOrigins });
  const host = 'llm.example:8080';
  for (const origin of [undefined, `http://${host}`, `https://${host}`]) refuse({ host, origin });
  refuse({ host, origin: 'https://app.example' }, ['https://app.example']);
  refuse({ host, origin: 'null' }, ['*']);
  for (const origin of ['https://app.example', 'null', 'https://llm.example', `https://${host}.evil.com`]) {
    assert.throws(() => refuse({ host, origin }, ['https://other.example']), { code: 'forbidden' }, origin);
  }
});
