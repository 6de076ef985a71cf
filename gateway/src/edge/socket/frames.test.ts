// Guards the one parser of frames: whatever bytes come, they become a frame or a fault that says what to do, never a throw.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { endFrame, errorFrame, eventFrame, headFrame, parseFrame } from './frames.ts';

const parsed = (value: unknown) =>
  parseFrame(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));
const faultOf = (value: unknown) => {
  const frame = parsed(value);
  assert.ok('fault' in frame, 'it was taken');
  return frame;
};

const CALL = { type: 'call', id: 'a.b-c_1', route: '/v1/chat/completions', body: { model: 'm' } };

test('every kind of frame is read as it was sent', () => {
  for (const frame of [
    CALL,
    { ...CALL, priority: 'batch', deadline_ms: 5, session: 's', idempotency_key: 'k' },
    { ...CALL, headers: { 'x-sluice-report': '1' } },
    { type: 'cancel', id: '1' },
    { type: 'resume', id: '1', stream: 'abc', after: 0 },
    { type: 'ping' },
  ]) {
    assert.deepEqual(parsed(frame), frame);
  }
});

test('a fault names the member, and bears the id where there is one to know it by', () => {
  for (const [frame, param, id] of [
    [{ ...CALL, id: 'two words' }, 'id', undefined],
    [{ ...CALL, id: 'x'.repeat(65) }, 'id', undefined],
    [{ ...CALL, id: 7 }, 'id', undefined],
    [{ ...CALL, route: 7 }, 'route', CALL.id],
    [{ ...CALL, deadline_ms: '5' }, 'deadline_ms', CALL.id],
    [{ ...CALL, headers: { 'X-Upper': '1' } }, 'headers.X-Upper', CALL.id],
    [{ ...CALL, headers: { 'x-line': 'a\nb' } }, 'headers.x-line', CALL.id],
    [{ type: 'resume', id: '1', stream: 's', after: -1 }, 'after', '1'],
    [{ type: 'resume', id: '1', stream: 's' }, 'after', '1'],
    [{ type: 'start', id: '1' }, 'type', '1'],
    [{ id: '1' }, 'type', '1'],
    [{ ...CALL, deadline: 5 }, undefined, CALL.id],
    [[], undefined, undefined],
    ['null', undefined, undefined],
    ['{"type":', undefined, undefined],
    ['', undefined, undefined],
  ] as const) {
    const { fault, id: known } = faultOf(frame);
    assert.deepEqual([fault.code, fault.param, known], ['invalid_request', param, id], JSON.stringify(frame));
  }
});

test('a fault stays short, whatever was sent', () => {
  const huge = 'x'.repeat(100_000);
  for (const frame of [
    { ...CALL, [huge]: 1 },
    { ...CALL, headers: { [huge]: '1' } },
    { type: huge, id: '1' },
    { ...CALL, headers: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`x-${index}`, ''])) },
  ]) {
    const { fault } = faultOf(frame);
    assert.ok(fault.message.length + (fault.param?.length ?? 0) < 600, fault.message.slice(0, 100));
  }
});

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const frame = parseFrame(bytes);
        assert.ok('fault' in frame || 'type' in frame);
      },
    ),
  );
});

test('what is sent is JSON, with data as it was and without what is not known', () => {
  const data = '{"text":"量子\\u2028","n":12345678901234567890}';
  assert.equal(eventFrame('a', 3, data).text, `{"type":"event","id":"a","seq":3,"data":${data}}`);
  assert.deepEqual(JSON.parse(eventFrame('a', undefined, '1').text), { type: 'event', id: 'a', data: 1 });
  assert.deepEqual(JSON.parse(headFrame('a', 's', { h: '1' }).text), {
    type: 'head',
    id: 'a',
    stream: 's',
    headers: { h: '1' },
  });
  assert.deepEqual(JSON.parse(errorFrame(undefined, 400, {}, undefined).text), {
    type: 'error',
    status: 400,
    error: {},
  });
  assert.deepEqual(JSON.parse(endFrame('a', 'failed').text), { type: 'end', id: 'a', reason: 'failed' });
});
