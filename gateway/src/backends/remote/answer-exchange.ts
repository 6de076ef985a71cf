// The exchange for one answer: what is sent, and what comes back until the answer is over, with the clocks that end a silence.
// It must never wait for a server that has said all that it has to say.
import { type ChatRequest, type EventSink, isDelta } from '../../core/chat.ts';
import { type GatewayError, toGatewayError } from '../../core/errors.ts';
import { AttemptClock } from './attempt-clock.ts';
import type { Brake } from './brake.ts';
import { RemoteAnswer } from './remote-answer.ts';
import { type SplicePlan, Splicer } from './splice.ts';
import type { Transport } from './transport.ts';
import type { UpstreamCall } from './upstream-dialect.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';
import type { Traits } from './vendors.ts';

/** The longest that is waited, in ms: for a stream's first word, in a stream's silence, and for an answer that is asked for whole. */
export interface AnswerLimits {
  readonly firstTokenTimeoutMs: number;
  readonly silenceLimitMs: number;
  readonly answerTimeoutMs: number;
}

export interface AnswerExchange {
  readonly request: ChatRequest;
  readonly call: UpstreamCall;
  readonly plan: SplicePlan | undefined;
  readonly traits: Traits;
  readonly limits: AnswerLimits;
  readonly headers: Readonly<Record<string, string>>;
  /** Aborted when nobody wants the answer any more. */
  readonly signal: AbortSignal;
  /** Ends it from our side. */
  readonly brake: Brake;
  readonly sink: EventSink;
  readonly onHead: (status: number, headers: UpstreamHeaders) => void;
  readonly errorOf: (status: number, headers: UpstreamHeaders, body: string) => GatewayError;
}

/** After the end mark: how long the server may take to end the body too, so that its connection can be used again. */
const ENDING_MS = 50;
/** Why an exchange is ended that has all it needs. */
const ENDED = new Error('The answer is over.');

/** Resolves after `finish` was pushed. Rejects with a GatewayError, or the reason of signal or brake. */
export async function exchangeAnswer(transport: Transport, options: AnswerExchange): Promise<void> {
  const { request, call, plan, traits, limits, headers, signal, brake, sink, onHead, errorOf } = options;
  const { path, body } = call;
  const firstTokenMs = request.isWhole ? limits.answerTimeoutMs : limits.firstTokenTimeoutMs;
  const clock = new AttemptClock({ firstTokenMs, silenceMs: limits.silenceLimitMs }, (late) =>
    brake.pull(late),
  );
  const answer = call.answer({
    traits,
    request,
    speaker: request.model,
    splicer: plan && new Splicer(plan),
    failure: (status, text) => errorOf(status, {}, text),
    sink: (event) => {
      if (isDelta(event)) clock.spoke();
      sink(event);
    },
  });
  let ending: NodeJS.Timeout | undefined;
  const end = (afterMs: number) => {
    ending ??= setTimeout(() => brake.pull(ENDED), afterMs);
  };
  const told = () => {
    // What a splicer takes out is life all the same.
    if (plan) clock.spoke();
    if (answer.isOver) end(answer.isStopped ? 0 : ENDING_MS);
  };
  const reader = new RemoteAnswer({
    parser: {
      data: (text, event) => {
        if (ending) return;
        answer.data(text, event);
        told();
      },
      known: (bytes, at) => {
        if (ending || !answer.known) return at;
        const next = answer.known(bytes, at);
        if (next > at) told();
        return next;
      },
      whole: (text) => answer.whole(text),
    },
    onHead,
    onBytes: () => clock.heard(),
    errorOf,
  });
  try {
    await transport.exchange({ method: 'POST', path, headers, body, signal, brake }, reader);
    reader.end();
  } catch (thrown) {
    // What breaks behind the end of an answer has broken nothing.
    const isLost = toGatewayError(thrown).code !== 'backend_failed' || !answer.isWhole;
    if (thrown !== ENDED && isLost) throw thrown;
  } finally {
    clock.stop();
    clearTimeout(ending);
  }
  answer.end();
}
