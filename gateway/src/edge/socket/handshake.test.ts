// Guards the door of sockets: what the library would refuse in words of its own is refused here before, as everything else is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestHeaders } from '../http/request-parser.ts';
import { checkHandshake } from './handshake.ts';

const GOOD: RequestHeaders = {
  upgrade: 'WebSocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

test('a proper request passes, with the subprotocol or without any', () => {
  checkHandshake(GOOD);
  for (const offered of ['sluice.v1', 'sluice.v1, key.b25l', 'other,sluice.v1']) {
    checkHandshake({ ...GOOD, 'sec-websocket-protocol': offered });
  }
});

test('what is wrong has its code', () => {
  for (const [code, headers] of [
    ['upgrade_required', { upgrade: undefined }],
    ['upgrade_required', { upgrade: 'h2c' }],
    ['upgrade_required', { 'sec-websocket-version': '8' }],
    ['upgrade_required', { 'sec-websocket-version': undefined }],
    ['invalid_request', { 'sec-websocket-key': undefined }],
    ['invalid_request', { 'sec-websocket-key': 'short==' }],
    ['invalid_request', { 'sec-websocket-protocol': 'graphql-ws' }],
    ['invalid_request', { 'sec-websocket-protocol': '' }],
    ['invalid_request', { 'sec-websocket-protocol': 'sluice.v1,' }],
    ['invalid_request', { 'sec-websocket-protocol': 'sluice.v1, sluice.v1' }],
    ['invalid_request', { 'sec-websocket-protocol': 'sluice.v1, key.a b' }],
  ] as const) {
    assert.throws(() => checkHandshake({ ...GOOD, ...headers }), { code }, JSON.stringify(headers));
  }
});
