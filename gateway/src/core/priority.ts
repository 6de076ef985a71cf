// How urgent a request is. A file of its own, because tickets and back ends both speak of it, and tickets speak of back ends.

/** Highest first: someone waits for each word; someone waits for the answer; nobody waits. */
export type Priority = 'interactive' | 'standard' | 'batch';

export const PRIORITIES: readonly Priority[] = ['interactive', 'standard', 'batch'];

export function isAbove(one: Priority, other: Priority): boolean {
  return PRIORITIES.indexOf(one) < PRIORITIES.indexOf(other);
}
