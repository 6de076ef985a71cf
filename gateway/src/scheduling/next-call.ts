// Who is next at a back end with a free slot: who lost its own first, then who came back for a place that was kept for it and
// presses, then the class whose turn it is, then the set of back ends whose calls were served least there, then who is
// next in that. Nobody is where the turn is a class's for which the slot is kept, and those who wait can do so.
import { isAbove, PRIORITIES, type Priority } from '../core/priority.ts';
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

/** Undefined: nobody. Those who would be next, but have waited as long as they may by `now`, are sent away. */
export function nextCall({ pools, shares, keptFor }: Seat, now: number): Choice | undefined {
  const first: Partial<Record<Priority, Head>> = {};
  const costs: Partial<Record<Priority, number>> = {};
  let lost: Head | undefined;
  let back: Head | undefined;
  for (const pool of pools) {
    pool.expire(now);
    const waiter = pool.resuming;
    if (waiter && !(lost && lost.waiter.since <= waiter.since)) lost = { pool, waiter };
    const due = pool.pressing(now);
    if (due && !(back && back.waiter.pressesAt <= due.pressesAt)) back = { pool, waiter: due };
    for (const priority of PRIORITIES) {
      const head = pool.queues[priority].next;
      const other = first[priority];
      if (!head || (other && other.pool.served[priority] <= pool.served[priority])) continue;
      first[priority] = { pool, waiter: head.item };
      costs[priority] = head.item.tokens;
    }
  }
  // For whom slots are kept waits as well, before all below it, who earn their share beside it.
  const highest = PRIORITIES.find((priority) => costs[priority] !== undefined);
  const isKept = keptFor !== undefined && highest !== undefined && isAbove(keptFor, highest);
  const heads = isKept ? { [keptFor]: 0, ...costs } : costs;
  if (lost) return { ...lost, turn: { priority: lost.waiter.ticket.priority, isEarned: false }, heads };
  if (back) {
    // What its class owes for it comes out of its share.
    const { priority } = back.waiter.ticket;
    const isEarned = PRIORITIES.find((one) => heads[one] !== undefined) !== priority;
    return { ...back, turn: { priority, isEarned }, heads };
  }
  const turn = shares.next(heads);
  const next = turn && first[turn.priority];
  if (turn && next) return { ...next, turn, heads };
  const priority = PRIORITIES.find((one) => first[one]?.waiter.ticket.deadlineAt !== undefined);
  const urgent = priority && first[priority];
  // It takes nothing that was earned, and earns nothing.
  return urgent && { ...urgent, turn: { priority, isEarned: false }, heads: costs };
}
