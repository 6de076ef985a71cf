// Who is next at a back end with a free slot: who lost its own first, then who came back for a place that was kept for it, then
// the class whose turn it is, then the set of back ends whose calls were served least there, then who is next in that.
import { PRIORITIES, type Priority } from '../core/priority.ts';
import type { Heads, Turn } from './class-shares.ts';
import type { Pool, Waiter } from './pool.ts';
import type { Seat } from './seat.ts';

interface Head {
  readonly pool: Pool;
  readonly waiter: Waiter;
}

export interface Choice extends Head {
  readonly turn: Turn;
  /** What waited then. */
  readonly heads: Heads;
}

/** Undefined: nobody waits. Those who would be next, but have waited as long as they may by `now`, are sent away. */
export function nextCall(seat: Seat, now: number): Choice | undefined {
  const { pools, shares, keptFor } = seat;
  const first: Partial<Record<Priority, Head>> = {};
  const heads: Partial<Record<Priority, number>> = {};
  let lost: Head | undefined;
  let back: Head | undefined;
  for (const pool of pools) {
    pool.expire(now);
    const waiter = pool.resuming;
    if (waiter && !(lost && lost.waiter.since <= waiter.since)) lost = { pool, waiter };
    const due = pool.back;
    if (due && !(back && back.waiter.dueAt <= due.dueAt)) back = { pool, waiter: due };
    for (const priority of PRIORITIES) {
      const head = pool.queues[priority].next;
      const other = first[priority];
      if (!head || (other && other.pool.served[priority] <= pool.served[priority])) continue;
      first[priority] = { pool, waiter: head.item };
      heads[priority] = head.item.tokens;
    }
  }
  if (lost) return { ...lost, turn: { priority: lost.waiter.ticket.priority, isEarned: false }, heads };
  if (back) {
    // What its class owes for it comes out of its share.
    const { priority } = back.waiter.ticket;
    const isEarned = PRIORITIES.find((one) => heads[one] !== undefined) !== priority;
    return { ...back, turn: { priority, isEarned }, heads };
  }
  const turn = shares.next(keptFor ? { [keptFor]: 0, ...heads } : heads);
  const next = turn && first[turn.priority];
  if (turn && next) return { ...next, turn, heads: keptFor ? { [keptFor]: 0, ...heads } : heads };
  // The turn is theirs for whom the slot is kept; who cannot wait for that need not.
  const priority = PRIORITIES.find((one) => first[one]?.waiter.ticket.deadlineAt !== undefined);
  const other = priority && first[priority];
  return other && { ...other, turn: { priority, isEarned: false }, heads };
}
