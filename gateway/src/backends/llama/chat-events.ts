// What the engine tells of a chat call, in the words of core/chat.ts: one start, deltas, and the end as its two events.
// It must never do more for a token than hand it on.
import type { CallContext } from '../../core/backend.ts';
import type { ChatRequest, EventSink, TokenEvent } from '../../core/chat.ts';
import type { CallEvent } from './messages.ts';

type Ended = Pick<Extract<TokenEvent, { type: 'choice-end' }>, 'reason' | 'stop'>;

/** Throws what the sink throws. Once the signal is aborted, be it by the sink, nothing more is pushed. */
export function toldAs(
  { continueFrom }: ChatRequest,
  speaker: string,
  { signal }: CallContext,
  sink: EventSink,
): (event: CallEvent) => void {
  let started = false;
  let hasCalls = (continueFrom?.choices[0]?.toolCalls ?? []).length > 0;
  const push = (event: TokenEvent): void => {
    if (!started) {
      started = true;
      sink({ type: 'start', speaker });
    }
    if (!signal.aborted) sink(event);
  };
  return (event) => {
    switch (event.type) {
      case 'text':
        push({
          type: 'text-delta',
          choice: 0,
          text: event.text,
          tokens: event.tokens,
          ...(event.logprobs && { logprobs: event.logprobs }),
        });
        break;
      case 'reasoning':
        push({ type: 'reasoning-delta', choice: 0, text: event.text, tokens: event.tokens });
        break;
      case 'tool-call': {
        const { index, id, name, text, tokens } = event;
        hasCalls = true;
        push({ type: 'tool-call-delta', choice: 0, index, id, name, arguments: text, tokens });
        break;
      }
      case 'end':
        push({ type: 'choice-end', choice: 0, ...endOf(event, hasCalls) });
        if (!signal.aborted) push({ type: 'finish', usage: event.usage });
        break;
    }
  };
}

/** An answer that has called a tool ended for that, whatever came behind the call. */
function endOf({ reason, stop }: Extract<CallEvent, { type: 'end' }>, hasCalls: boolean): Ended {
  if (hasCalls && reason === 'stop') return { reason: 'tool_calls' };
  return stop === undefined ? { reason } : { reason, stop };
}
