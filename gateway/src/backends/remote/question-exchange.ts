// The exchange for a question whose answer is computed whole: what is sent, and the answer, once it is all there.
// It must never wait for ever, nor hold an answer without end.
import { GatewayError } from '../../core/errors.ts';
import type { Brake } from './brake.ts';
import { shortExchange } from './short-exchange.ts';
import type { Transport } from './transport.ts';
import { parseUpstream } from './upstream-json.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';

export interface Question<Answer> {
  /** From the server's root. */
  readonly path: string;
  readonly body: string;
  /** Of an answer's JSON. Throws `backend_failed` for what is no answer. */
  readonly read: (answer: unknown) => Answer;
}

export interface QuestionExchange<Answer> {
  readonly question: Question<Answer>;
  readonly headers: Readonly<Record<string, string>>;
  /** In ms. */
  readonly answerTimeoutMs: number;
  /** Aborted when nobody wants the answer any more. */
  readonly signal: AbortSignal;
  /** Ends it from our side. */
  readonly brake: Brake;
  readonly onHead: (status: number, headers: UpstreamHeaders) => void;
  readonly errorOf: (status: number, headers: UpstreamHeaders, body: string) => GatewayError;
}

/** Of vectors: 128 of 8,192 numbers each have as much in JSON. */
const MOST_ANSWER_BYTES = 32 * 1024 * 1024;

/** Rejects with a GatewayError, or the reason of signal or brake. */
export async function exchangeQuestion<Answer>(
  transport: Transport,
  { question, headers, answerTimeoutMs, signal, brake, onHead, errorOf }: QuestionExchange<Answer>,
): Promise<Answer> {
  const { path, body, read } = question;
  const timer = setTimeout(() => brake.pull(tooSlow(answerTimeoutMs)), answerTimeoutMs);
  try {
    const request = { method: 'POST', path, headers, body, signal, brake } as const;
    const answer = await shortExchange(transport, request, MOST_ANSWER_BYTES);
    onHead(answer.status, answer.headers);
    if (answer.status >= 400) throw errorOf(answer.status, answer.headers, answer.body);
    return read(parseUpstream(answer.body));
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow(limitMs: number): GatewayError {
  return new GatewayError('backend_timeout', `The back end did not answer within ${limitMs / 1000} s.`);
}
