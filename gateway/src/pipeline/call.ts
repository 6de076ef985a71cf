// A call as its attempts see it, and how it stands between two of them. Words only.
import type { Backend } from '../core/backend.ts';
import type { ChatRequest } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import type { GatewayError } from '../core/errors.ts';
import type { RequestObserver, RequestRecord } from '../core/observer.ts';
import type { Ticket } from '../core/ticket.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import type { AttemptBudget } from './attempt-budget.ts';
import type { Begun } from './going-on.ts';
import type { Hedging } from './hedging.ts';

export interface Call {
  readonly scheduler: Pick<Scheduler, 'acquire' | 'tryAcquire'>;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  readonly record: RequestRecord;
  readonly callId: string;
  readonly request: ChatRequest;
  /** The first attempt's; its signal ends them all. */
  readonly ticket: Ticket;
  /** What back ends call the model, by their ids; who is not in it calls it as the request does. */
  readonly names: ReadonlyMap<string, string> | undefined;
  /** Gateways that the request has passed, this one last. */
  readonly hops: readonly string[];
  /** Pays for attempts that could make an overload worse. */
  readonly retries: AttemptBudget;
  /** Absent: a late first word is waited for. */
  readonly hedging: Hedging | undefined;
  /** False: who fails before it has said anything is the last to be asked. */
  readonly mayFailOver: boolean;
  /** False: an answer that was begun ends with its back end. */
  readonly mayGoOn: boolean;
  /** How long its client waits for the next word after its back end was lost, in ms; absent: as the scheduler lets it. */
  readonly resumeLimitMs: number | undefined;
  /** How it stands where it begins: another call lost its back end, and this one goes on. Absent: it begins anew. */
  readonly standing?: Standing | undefined;
  /** The call has failed for good. Called while it still holds its slot, which must not go to one that is ended too. */
  readonly onFailed: (error: GatewayError, standing: Standing) => void;
}

/** How a call stands between two attempts: what there is of its answer, and how the last one ended. */
export interface Standing extends Begun {
  /** How the call last failed; absent: it only gave its slot back. */
  readonly error: GatewayError | undefined;
  /** The last attempt gave its slot back to a more urgent call. */
  readonly isPreempted: boolean;
  /** Who failed the call before it last got further: where nobody else is left, time enough has gone by to ask them again. */
  readonly earlier: ReadonlySet<Backend>;
}
