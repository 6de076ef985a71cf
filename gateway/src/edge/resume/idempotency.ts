// `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): what a client calls a request, so that sending it twice
// computes it once. Pure.
import { createHash } from 'node:crypto';
import { GatewayError } from '../../core/errors.ts';
import type { Envelope } from '../http/envelope.ts';
import type { RequestName } from './kept-answers.ts';
import type { Owner } from './stream-ids.ts';

const HEADER = 'Idempotency-Key';

/**
 * The request's name, which is unique to its key and route; undefined: it has none. The model in the path counts to what it asks,
 * its headers do not. Throws `invalid_request`.
 */
export function requestName(
  exchange: Envelope,
  route: string,
  { digest }: Owner,
  body: () => Buffer,
): RequestName | undefined {
  const given = exchange.header('idempotency-key');
  if (given === undefined) return undefined;
  if (!/^[\x20-\x7e]{1,255}$/.test(given)) {
    throw new GatewayError('invalid_request', `${HEADER} is 1 to 255 printable ASCII characters.`, {
      param: HEADER,
    });
  }
  const fingerprint = createHash('sha256').update(exchange.path).update('\0').update(body()).digest('base64');
  return { name: `${digest.toString('base64')} ${route} ${given}`, fingerprint };
}
