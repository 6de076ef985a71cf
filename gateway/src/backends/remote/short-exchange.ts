// One question to a server whose answer is short, and read whole: what is asked beside the calls.
import { GatewayError } from '../../core/errors.ts';
import type { Transport, UpstreamHeaders, UpstreamRequest } from './transport.ts';

export interface ShortAnswer {
  readonly status: number;
  readonly body: string;
}

const MOST_BODY = 4 * 1024 * 1024;

/** Rejects with `backend_failed`, also for an answer of more than 4 MiB, or with the signal's reason. */
export async function shortExchange(transport: Transport, request: UpstreamRequest): Promise<ShortAnswer> {
  const answer = new BoundedAnswer();
  await transport.exchange(request, answer);
  return { status: answer.status, body: Buffer.concat(answer.pieces).toString() };
}

class BoundedAnswer {
  status = 0;
  readonly pieces: Buffer[] = [];
  private bytes = 0;

  head(status: number, _headers: UpstreamHeaders): void {
    this.status = status;
  }

  data(bytes: Buffer): void {
    this.bytes += bytes.length;
    if (this.bytes > MOST_BODY)
      throw new GatewayError('backend_failed', 'The back end answered a question without end.');
    this.pieces.push(bytes);
  }
}
