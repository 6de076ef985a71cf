// One call's attempts: a lease, the compute, and where the back end is lost, another attempt. Before anything was given
// that is the same call once more, on another back end; after it, one that goes on from what was given.
// It must never give anything twice, never begin an answer anew once a word of it was given, and never try again what
// would fail the same way everywhere.
import type { Backend } from '../core/backend.ts';
import type { EventSink, Usage } from '../core/chat.ts';
import { ERROR_TRAITS, type GatewayError } from '../core/errors.ts';
import { comesBack, isWhole, type Lost } from './attempt.ts';
import type { AttemptBudget } from './attempt-budget.ts';
import type { Call, Standing } from './call.ts';
import { wayOn } from './going-on.ts';
import { runHedged } from './hedged-attempt.ts';
import { nextTurn, retold, type Turn } from './next-turn.ts';

/** A prompt that kills every engine must not take down more of them than this. */
export const MOST_ATTEMPTS = 4;

/** Runs a call to its end and resolves to its usage; `push` gets its events but for `finish`. Rejects with a GatewayError. */
export async function runCall(call: Call, push: EventSink): Promise<Usage> {
  const failed = new Set<Backend>();
  let standing = call.standing;
  let attempts = 0;
  for (;;) {
    const turn = await nextTurn(call, failed, standing);
    if (!standing) earn(call);
    tell(call, turn, standing);
    const ending = await runHedged(call, turn, standing, failed, push);
    try {
      if (isWhole(ending)) return ending.usage;
      const before = standing;
      standing = standingAfter(failed, before, ending);
      if (ending.isPreempted) {
        call.record.preempted += 1;
        call.observer.preempted?.(call.record);
        continue;
      }
      attempts += 1;
      if (!comesBack(ending)) failed.add(ending.by);
      const isOver = call.ticket.signal.aborted;
      const error = isOver ? ending.error : after(before, ending.error);
      standing = { ...standing, error };
      if (isOver || attempts >= MOST_ATTEMPTS || !mayTryAgain(call, failed, standing, error)) {
        call.onFailed(error, standing);
        throw error;
      }
    } finally {
      ending.giveBack();
    }
  }
}

/** A call that runs pays for a part of those attempts that nobody asked for. */
function earn({ retries, hedging }: Call): void {
  retries.earn();
  hedging?.earn();
}

/** Who gave its slot to a more urgent call has not failed, and what it failed by before still counts. */
function standingAfter(failed: ReadonlySet<Backend>, before: Standing | undefined, ending: Lost): Standing {
  const { by, isGiven, hasMoved, answer, isPreempted } = ending;
  const earlier = new Set(hasMoved ? failed : before?.earlier);
  earlier.delete(by);
  return { error: before?.error, by, isGiven, answer, earlier, isPreempted };
}

function mayTryAgain(
  call: Call,
  failed: ReadonlySet<Backend>,
  standing: Standing,
  error: GatewayError,
): boolean {
  const { ticket, request, mayFailOver, mayGoOn, retries } = call;
  const { isGiven, earlier } = standing;
  if (!ERROR_TRAITS[error.code].elsewhere || !(isGiven ? mayGoOn : mayFailOver)) return false;
  const mayBeAsked = (one: Backend) => !failed.has(one) || earlier.has(one);
  if (!ticket.backends.some((one) => mayBeAsked(one) && wayOn(request, standing, one))) return false;
  return isGiven || isPaid(error, retries);
}

/** A connection that broke costs nobody anything; who is busy or slow, others like it may be too: that attempt is paid for. */
export function isPaid({ code }: GatewayError, retries: AttemptBudget): boolean {
  return code === 'backend_failed' || retries.take();
}

/** The error as it is, with the one before it as its cause where it has none of its own. */
function after(before: Standing | undefined, error: GatewayError): GatewayError {
  return !before?.error || error.cause !== undefined ? error : retold(error, error.message, before.error);
}

/** Whose turn it is now, and why. */
function tell({ record, observer, clock }: Call, { lease, way }: Turn, before: Standing | undefined): void {
  const { backend } = lease;
  if (record.backend === undefined) {
    record.backend = backend.id;
    record.queueMs = lease.queueMs;
    const acquiredMs = clock.now() - lease.queueMs - record.startedAt;
    const { predictedFirstTokenMs: predictedMs } = lease;
    record.predictedFirstTokenMs = predictedMs === undefined ? undefined : acquiredMs + predictedMs;
    observer.started?.(record);
  }
  if (!before) return;
  if (record.backend === before.by.id) record.backend = backend.id;
  // Who announced itself and then said nothing is not who speaks.
  if (way === 'anew' && record.firstTokenMs === undefined) record.speaker = undefined;
  if (before.isPreempted || !before.error) return;
  if (way === 'anew') {
    record.failovers += 1;
    observer.failedOver?.(record, before.error.code);
  } else {
    record.continued += 1;
    observer.continued?.(record, way);
  }
}
