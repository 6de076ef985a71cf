// What can go wrong on the way to another server, one sentence for each kind, and how foreign errors become one of them.
// The sentences are for clients: no address, no key and nothing that was sent stands in them. What was thrown stays as
// the cause, for the log.
import { GatewayError } from '../../core/errors.ts';

const SENTENCES = {
  refused: 'The back end refused the connection.',
  'unknown-name': "The back end's name could not be found.",
  unreachable: 'The back end cannot be reached.',
  late: 'The back end did not take the connection in time.',
  certificate: "The back end's certificate is not trusted.",
  tls: 'No secure connection to the back end could be made.',
  proxy: 'The proxy before the back end cannot be reached.',
  'proxy-refused': 'The proxy did not open a way to the back end.',
  reset: 'The back end closed the connection before it answered.',
  cut: 'The back end closed the connection in the middle of its answer.',
  'bad-http': 'The back end did not answer in HTTP.',
  redirect: 'The back end answered with a redirect, which is not followed.',
  'unknown-packing': 'The back end packed its answer in a way that the gateway does not know.',
  'bad-packing': "The back end's answer could not be unpacked.",
  bomb: "The back end's answer unpacks to far more than it should.",
  unsendable: 'The request could not be written for the back end.',
  closed: 'The back end was closed.',
} as const;

export type TransportFault = keyof typeof SENTENCES;

/** A `backend_failed` with the sentence of its kind. */
export function transportError(fault: TransportFault, cause?: unknown): GatewayError {
  return new GatewayError('backend_failed', SENTENCES[fault], { cause });
}

/** Faults of who gets no connection at all: the server has not seen the request, and will hardly see the next one. */
const NO_CONNECTION: readonly TransportFault[] = [
  'refused',
  'unknown-name',
  'unreachable',
  'late',
  'certificate',
  'tls',
  'proxy',
  'proxy-refused',
];

/** Whether there was no connection to the back end at all. */
export function isUnreachable({ message }: GatewayError): boolean {
  return NO_CONNECTION.some((fault) => SENTENCES[fault] === message);
}

/** Whether there is no connection, or none any more: its process may have ended. */
export function isBroken(error: GatewayError): boolean {
  return (
    isUnreachable(error) || [SENTENCES.reset, SENTENCES.cut].some((sentence) => sentence === error.message)
  );
}

/** Why no connection came about. */
export function connectError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return transportError(connectFault(codeOf(thrown)), thrown);
}

/** Why the handshake failed: whether it is the certificate is what an operator must know. */
export function handshakeError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return transportError(/CERT|SIGNATURE|SIGNED|ISSUER/.test(codeOf(thrown)) ? 'certificate' : 'tls', thrown);
}

/** Why an exchange failed on its connection; undefined thrown: the other side closed it. `hasHead`: the answer's head had come. */
export function exchangeError(thrown: unknown, hasHead: boolean): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return transportError(hasHead ? 'cut' : 'reset', thrown);
}

/** Whether a connection broke or was closed, and nothing else: if not one byte came on it, the request may never have been read. */
export function isBrokenConnection(thrown: unknown): boolean {
  return thrown === undefined || ['ECONNRESET', 'EPIPE', 'ECONNABORTED'].includes(codeOf(thrown));
}

function connectFault(code: string): TransportFault {
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'ENODATA':
      return 'unknown-name';
    case 'ECONNRESET':
      return 'reset';
    default:
      return 'unreachable';
  }
}

/** The error's code; of several attempts at a name's addresses, the first one's. */
function codeOf(thrown: unknown): string {
  if (typeof thrown !== 'object' || thrown === null) return '';
  if ('code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return thrown instanceof AggregateError && thrown.errors.length > 0 ? codeOf(thrown.errors[0]) : '';
}
