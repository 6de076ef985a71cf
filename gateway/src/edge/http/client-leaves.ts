// Hears that a client leaves, for whoever works for it. It must never outlive that work: a connection serves many requests.
import type { ServerResponse } from 'node:http';
import { GatewayError } from '../../core/errors.ts';

/** Why its work ends. */
export function clientLeft(): GatewayError {
  return new GatewayError('cancelled', 'The client left.');
}

/** Calls `onLeft` when the client leaves, at once if it has. Returns what ends the watch, to be called with the end of the work. */
export function watchClient(response: ServerResponse, onLeft: (reason: GatewayError) => void): () => void {
  const onClose = () => onLeft(clientLeft());
  response.once('close', onClose);
  if (response.destroyed) onClose();
  return () => void response.off('close', onClose);
}
