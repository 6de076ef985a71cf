// One question to a server whose answer is short, and read whole: what is asked beside the calls.
import { GatewayError } from '../../core/errors.ts';
import type { Transport, UpstreamRequest } from './transport.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';

export interface ShortAnswer {
  readonly status: number;
  readonly headers: UpstreamHeaders;
  readonly body: string;
}

const MOST_BYTES = 4 * 1024 * 1024;

/** Rejects with `backend_failed`, also for an answer of more than `mostBytes`, or with the signal's reason. */
export async function shortExchange(
  transport: Transport,
  request: UpstreamRequest,
  mostBytes = MOST_BYTES,
): Promise<ShortAnswer> {
  const answer = new BoundedAnswer(mostBytes);
  await transport.exchange(request, answer);
  const { status, headers, pieces } = answer;
  return { status, headers, body: Buffer.concat(pieces).toString() };
}

class BoundedAnswer {
  status = 0;
  headers: UpstreamHeaders = {};
  readonly pieces: Buffer[] = [];
  private readonly mostBytes: number;
  private bytes = 0;

  constructor(mostBytes: number) {
    this.mostBytes = mostBytes;
  }

  head(status: number, headers: UpstreamHeaders): void {
    this.status = status;
    this.headers = headers;
  }

  data(bytes: Buffer): void {
    this.bytes += bytes.length;
    if (this.bytes > this.mostBytes)
      throw new GatewayError('backend_failed', 'The back end answered a question without end.');
    this.pieces.push(Buffer.from(bytes));
  }
}
