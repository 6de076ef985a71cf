// The ticket by which a call asks for its first slot. Pure.
import type { RequestRecord } from '../core/observer.ts';
import type { Cost, Ticket } from '../core/ticket.ts';
import type { ServedModel } from '../core/world.ts';

/** What every call's ticket is made of. */
export interface TicketParts {
  readonly record: RequestRecord;
  readonly model: ServedModel;
  readonly cost: Cost;
  /** The first token is due this long after `record.startedAt`, in ms. */
  readonly deadlineMs: number | undefined;
  readonly weight?: number | undefined;
  readonly signal: AbortSignal;
}

export function firstTicket({ record, model, cost, deadlineMs, weight, signal }: TicketParts): Ticket {
  return {
    id: record.id,
    model: model.id,
    backends: model.backends,
    tiers: model.tiers,
    tenant: record.tenant,
    priority: record.priority,
    deadlineAt: deadlineMs === undefined ? undefined : record.startedAt + deadlineMs,
    resumes: false,
    signal,
    cost,
    prices: model.prices,
    weight,
  };
}
