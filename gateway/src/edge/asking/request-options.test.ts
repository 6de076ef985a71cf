// Guards what a request asks outside of its body: a wish that is none is refused by name, and no wish lifts a request above
// what its key may have.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Priority } from '../../core/priority.ts';
import type { AccessKey } from '../../core/world.ts';
import type { ParsedRequest } from '../../wire/dialect.ts';
import type { Exchange } from '../http/exchange.ts';
import {
  deadlineOf,
  degradeOf,
  failoverOf,
  hopsOf,
  mayShareOf,
  priorityOf,
  resumableOf,
  sessionOf,
} from './request-options.ts';

function asking(headers: Readonly<Record<string, string>>): Exchange {
  return { header: (name: string) => headers[name] } as Exchange;
}

function priority(
  highest: Priority | undefined,
  asked?: string,
  request: Partial<ParsedRequest> = {},
  ofModel?: Priority,
): Priority {
  const headers: Record<string, string> = asked === undefined ? {} : { 'x-sluice-priority': asked };
  const parsed = { calls: [{}], stream: false, ...request } as unknown as ParsedRequest;
  const key: AccessKey = { tenant: 't', digest: Buffer.alloc(32), models: undefined, priority: highest };
  return priorityOf(asking(headers), parsed, { priority: ofModel }, key);
}

test('without a wish a stream is interactive, an answer standard, an array of prompts batch', () => {
  assert.equal(priority(undefined, undefined, { stream: true }), 'interactive');
  assert.equal(priority(undefined), 'standard');
  assert.equal(priority(undefined, undefined, { calls: [{}, {}] as never, stream: true }), 'batch');
});

test('a model has a priority of its own for those who do not wish; an array of prompts is work in bulk everywhere', () => {
  assert.equal(priority(undefined, undefined, { stream: true }, 'batch'), 'batch');
  assert.equal(priority(undefined, undefined, {}, 'interactive'), 'interactive');
  assert.equal(priority(undefined, 'standard', { stream: true }, 'batch'), 'standard');
  assert.equal(priority(undefined, undefined, { calls: [{}, {}] as never }, 'interactive'), 'batch');
  assert.equal(
    priority('standard', undefined, {}, 'interactive'),
    'standard',
    'never above what its key may have',
  );
});

test('a wish is granted up to what the key may have', () => {
  assert.equal(priority(undefined, 'batch', { stream: true }), 'batch');
  assert.equal(priority('interactive', 'interactive'), 'interactive');
  assert.equal(priority('standard', 'interactive'), 'standard');
  assert.equal(priority('standard', 'batch'), 'batch');
  assert.equal(priority('batch', 'interactive'), 'batch');
  assert.equal(priority('batch', undefined, { stream: true }), 'batch', 'also where nobody wished');
});

test('a wish that is none is refused by its header', () => {
  assert.throws(() => priority(undefined, 'urgent'), { code: 'invalid_request', param: 'x-sluice-priority' });
  for (const asked of ['0', '-1', '1.5', 'soon', '999999999']) {
    assert.throws(() => deadlineOf(asking({ 'x-sluice-deadline-ms': asked })), {
      param: 'x-sluice-deadline-ms',
    });
  }
  assert.throws(() => failoverOf(asking({ 'x-sluice-failover': 'maybe' })), { param: 'x-sluice-failover' });
  assert.equal(deadlineOf(asking({ 'x-sluice-deadline-ms': '250' })), 250);
  assert.equal(failoverOf(asking({})), true);
  assert.throws(() => degradeOf(asking({ 'x-sluice-degrade': 'no' })), { param: 'x-sluice-degrade' });
  assert.deepEqual([degradeOf(asking({})), degradeOf(asking({ 'x-sluice-degrade': 'off' }))], [true, false]);
});

test('a stream can be resumed as its request or else its model has it', () => {
  const is = (asked: string | undefined, isResumable?: boolean) =>
    resumableOf(asking(asked === undefined ? {} : { 'x-sluice-resumable': asked }), { isResumable });
  assert.deepEqual([is(undefined), is('1'), is('0')], [false, true, false]);
  assert.deepEqual([is(undefined, true), is('1', true), is('0', true)], [true, true, false]);
  assert.throws(() => is('yes'), { code: 'invalid_request', param: 'x-sluice-resumable' });
});

test('who says no-store or no-cache is computed for itself', () => {
  const may = (directives?: string) =>
    mayShareOf(asking(directives === undefined ? {} : { 'cache-control': directives }));
  for (const directives of [
    undefined,
    '',
    'max-age=0',
    'no-transform, max-stale=5',
    'x-no-store',
    'no-stores',
  ]) {
    assert.equal(may(directives), true, directives);
  }
  for (const directives of [
    'no-store',
    'no-cache',
    'No-Store',
    'max-age=0, no-store',
    'no-transform,no-cache ,x',
  ]) {
    assert.equal(may(directives), false, directives);
  }
});

test('a session has a short plain name, or the request is refused', () => {
  const named = (name: string) => sessionOf(asking({ 'x-sluice-session': name }));
  assert.equal(sessionOf(asking({})), undefined);
  for (const name of ['a', 'user-7/chat:12', '~'.repeat(128)]) assert.equal(named(name), name);
  for (const name of ['a b', 'a\tb', 'café', '~'.repeat(129)]) {
    assert.throws(() => named(name), { code: 'invalid_request', param: 'x-sluice-session' });
  }
});

test('the gateways that a request has passed, of which none may see it twice', () => {
  const passed = (hops?: string) => hopsOf(asking(hops === undefined ? {} : { 'x-sluice-hops': hops }), 'me');
  assert.deepEqual(passed(), []);
  assert.deepEqual(passed('one'), ['one']);
  assert.deepEqual(passed('one,two-2'), ['one', 'two-2']);
  assert.deepEqual(passed('one, two ,\tthree'), ['one', 'two', 'three'], 'as a proxy may write it');
  assert.deepEqual(passed('not me,me too,me2,'), ['me2'], 'what is no name is nobody');
  assert.deepEqual(passed(`${'x'.repeat(65)},${'y'.repeat(64)}`), ['y'.repeat(64)]);
  const loop = {
    code: 'loop_detected',
    message: 'This request has been here before: a back end of this server leads back to it.',
  };
  for (const hops of ['me', 'one,me', 'me,one', 'one, me', 'one,me,two'])
    assert.throws(() => passed(hops), loop);
});

test('more gateways in a row than anyone needs are a loop too, and the list is never read to an end far away', () => {
  const row = (length: number) => Array.from({ length }, (_, at) => `hop-${at}`).join(',');
  const passed = (hops: string) => hopsOf(asking({ 'x-sluice-hops': hops }), 'me');
  assert.equal(passed(row(16)).length, 16);
  assert.throws(() => passed(row(17)), { code: 'loop_detected' });
  assert.throws(() => passed(row(100_000)), { code: 'loop_detected' });
});
