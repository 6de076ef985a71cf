// One attempt of a call: the compute on one lease, its events passed on as they come.
// It keeps back ends to their contract, and tells how it ended instead of throwing. It must never decide what follows.
import type { Backend } from '../core/backend.ts';
import {
  type ChatRequest,
  type EventSink,
  isDelta,
  type PartialAnswer,
  type TokenEvent,
  type Usage,
} from '../core/chat.ts';
import { ERROR_TRAITS, GatewayError, toGatewayError } from '../core/errors.ts';
import type { Call, Standing } from './call.ts';
import { contextOf, dueSignal } from './call-context.ts';
import { answerSoFar, isWorthKeeping, wholeUsage } from './going-on.ts';
import type { Turn } from './next-turn.ts';
import { AnswerFold } from './partial.ts';

/** How an attempt ended. */
export type Ending = Whole | Lost;

interface Ended {
  readonly by: Backend;
  /** Gives its slot, which it holds until then, to the next. Only the first time counts. */
  giveBack(): void;
}

/** The answer is whole. */
export interface Whole extends Ended {
  readonly usage: Usage;
}

/** The answer is not, for whatever reason. */
export interface Lost extends Ended {
  readonly error: GatewayError;
  /** The slot was taken back for a more urgent call, and nobody has failed. */
  readonly isPreempted: boolean;
  /** The client has something of the answer, from this attempt or one before. */
  readonly isGiven: boolean;
  /** This attempt gave some of it. */
  readonly hasMoved: boolean;
  /** What there is of the answer; absent: it was not kept. */
  readonly answer: PartialAnswer | undefined;
}

export function isWhole(ending: Ending): ending is Whole {
  return 'usage' in ending;
}

/** Whether the back end is on its way back, and can take up its own tokens: an engine of our own is started anew. */
export function comesBack({ by, error }: Pick<Lost, 'by' | 'error'>): boolean {
  return by.continues === 'ids' && error.code === 'backend_failed';
}

/** Runs it to its end, or until `signal` aborts. Never rejects. */
export async function runAttempt(
  call: Call,
  turn: Turn,
  standing: Standing | undefined,
  push: EventSink,
  signal: AbortSignal = turn.lease.signal,
): Promise<Ending> {
  const { record, clock, request } = call;
  const { lease, way, ticket } = turn;
  const { backend } = lease;
  const soFar = answerSoFar(way, request, standing);
  let fold: AnswerFold | undefined;
  let isGiven = standing?.isGiven ?? false;
  let hasMoved = false;
  let spoke = false;
  let usage: Usage | undefined;
  // Once any call of an answer has spoken, its first token has come; who goes on owes a word of its own.
  const hasSpoken = () => spoke || (way === 'anew' && record.firstTokenMs !== undefined);
  const message = 'The first token did not come before the deadline.';
  const clocked = dueSignal({ clock, at: ticket.deadlineAt, hasCome: hasSpoken, message }, signal);
  try {
    if (isKept(call, turn)) fold = new AnswerFold(soFar);
    const asked = askedOf(call, backend, way === 'rethink' ? request.continueFrom : soFar);
    await backend.chat(asked, contextOf(call, ticket, clocked.signal), (event) => {
      if (event.type === 'finish') {
        usage = event.usage;
        return;
      }
      if (!spoke && isDelta(event)) {
        spoke = true;
        lease.spoke();
      }
      // Its client has read a thought already.
      if (way === 'rethink' && event.type === 'reasoning-delta') return;
      hasMoved ||= givesSomething(event);
      isGiven ||= hasMoved;
      fold?.add(event);
      push(event);
    });
    if (!usage) throw new GatewayError('backend_failed', 'The back end ended its answer in the middle.');
    const whole = wholeUsage(way, soFar, usage, backend);
    return { by: backend, usage: whole, giveBack: () => lease.release('ok', whole) };
  } catch (thrown) {
    const error = toGatewayError(thrown);
    const isPreempted = lease.isPreempted && !call.ticket.signal.aborted;
    const outcome = !isPreempted && ERROR_TRAITS[error.code].shrinksLimit ? 'overload' : 'ignored';
    return {
      by: backend,
      error,
      isPreempted,
      isGiven,
      hasMoved,
      answer: fold?.answer(),
      giveBack: () => lease.release(outcome),
    };
  } finally {
    clocked.stop();
  }
}

/** Whether the answer may have to go on, here or elsewhere. Batch work on the engine does where its slot is taken back. */
function isKept({ request, mayGoOn }: Call, { ticket, lease }: Turn): boolean {
  const mayBePreempted = ticket.priority === 'batch' && lease.backend.continues === 'ids';
  return (mayGoOn || mayBePreempted) && isWorthKeeping(request, ticket.backends);
}

function askedOf(
  { request, names }: Call,
  backend: Backend,
  continueFrom: PartialAnswer | undefined,
): ChatRequest {
  const model = names?.get(backend.id) ?? request.model;
  const isAsItCame = model === request.model && continueFrom === request.continueFrom;
  return isAsItCame ? request : { ...request, model, continueFrom };
}

/** Whether the client has more than before, so that the call cannot begin anew. */
function givesSomething(event: TokenEvent): boolean {
  if (event.type === 'text-delta' || event.type === 'reasoning-delta') return event.text !== '';
  return event.type !== 'start';
}
