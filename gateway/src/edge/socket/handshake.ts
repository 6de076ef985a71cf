// A request to become a WebSocket (RFC 6455, 4.2.1): what is wrong with it, told before anything is upgraded. Pure.
import { GatewayError } from '../../core/errors.ts';
import type { RequestHeaders } from '../http/request-parser.ts';

/** The subprotocol that is spoken here. */
export const SUBPROTOCOL = 'sluice.v1';
export const WEBSOCKET_VERSION = '13';

/** Sixteen bytes as base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Throws `upgrade_required` and `invalid_request`. */
export function checkHandshake(headers: RequestHeaders): void {
  if (!asksForWebSocket(headers) || headers['sec-websocket-version'] !== WEBSOCKET_VERSION) {
    throw new GatewayError(
      'upgrade_required',
      `This path is a WebSocket: connect to it as one, in version ${WEBSOCKET_VERSION} of the protocol.`,
    );
  }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) {
    throw new GatewayError('invalid_request', 'Sec-WebSocket-Key is the base64 of 16 bytes.');
  }
  const offered = headers['sec-websocket-protocol']?.split(',').map((one) => one.trim());
  if (offered === undefined) return;
  const isList = offered.every((one) => TOKEN.test(one)) && new Set(offered).size === offered.length;
  if (isList && offered.includes(SUBPROTOCOL)) return;
  throw new GatewayError(
    'invalid_request',
    `Sec-WebSocket-Protocol must offer "${SUBPROTOCOL}", with or without a key beside it, or be absent.`,
  );
}

export function asksForWebSocket({ upgrade }: RequestHeaders): boolean {
  return upgrade?.toLowerCase() === 'websocket';
}
